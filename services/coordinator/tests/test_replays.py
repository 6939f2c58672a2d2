"""What changed between two replays: exact values, and properties that hold of any."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay_coordinator.canary_gate import canary_gate, judged, plain_headline
from assay_coordinator.domain.canary import CanaryLimits, Measure
from assay_coordinator.statistics.decision import Verdict
from assay_coordinator.statistics.intervals import PairedCounts, tango_paired, wilson
from assay_coordinator.statistics.replays import Pair, Replayed, measures, side_facts
from assay_coordinator.statistics.request import Options

FEW = Options(replicates=200)


def replayed(verdict="answered", toxicity=0.1, tokens=20, segment=0, arrival=0.0, latency=0.5):
    return Replayed(verdict, toxicity, tokens, segment, arrival, latency)


def pair(cluster, variant, reference, *, same=False, similarity=0.5):
    return Pair(str(cluster), same, similarity, variant, reference)


def alike(count=40):
    side = replayed()
    return [pair(k, side, side, same=True, similarity=1.0) for k in range(count)]


def by_name(pairs, most_tokens=128, options=FEW):
    return {each.name: each for each in measures(pairs, most_tokens, options)}


# -- one side --------------------------------------------------------------------------------------


def test_percentiles_and_rates_are_those_of_the_prompts_that_fit():
    side = [replayed(arrival=0.1 * k, latency=0.01 * (k + 1)) for k in range(100)]
    side += [replayed("overlength", None, 0, arrival=50.0, latency=0.0)]
    facts = side_facts("a", side)
    assert (facts.prompts, facts.answered, facts.overlength) == (101, 100, 1)
    assert facts.latency_p50 == pytest.approx(0.505)
    assert facts.latency_p95 == pytest.approx(0.9505)
    assert facts.latency_p99 == pytest.approx(0.9901)
    assert facts.wall_seconds == pytest.approx(9.9 + 1.0)
    assert facts.completions_per_second == pytest.approx(100 / 10.9)
    assert facts.tokens_per_second == pytest.approx(2000 / 10.9)
    assert facts.mean_toxicity == pytest.approx(0.1)


def test_the_time_between_a_kill_and_the_restart_is_nobodys():
    side = [replayed(arrival=1.0, latency=1.0), replayed(segment=1, arrival=0.5, latency=0.5)]
    facts = side_facts("a", side)
    assert (facts.segments, facts.wall_seconds, facts.completions_per_second) == (2, 3.0, 2 / 3)


def test_a_side_on_which_nothing_fits_has_no_rates():
    facts = side_facts("a", [replayed("overlength", None, 0)])
    assert (facts.wall_seconds, facts.completions_per_second, facts.latency_p50) == (0, 0, 0)
    assert facts.mean_toxicity is None


# -- both sides ------------------------------------------------------------------------------------


def test_agreement_has_the_wilson_interval_and_refusals_have_tangos():
    refusing = replayed("refused")
    pairs = alike(30) + [pair(f"r{k}", refusing, replayed()) for k in range(10)]
    found = by_name(pairs)
    expected = wilson(30, 40)
    agreement = found["agreement"]
    assert (agreement.value, agreement.low, agreement.high) == (0.75, expected.low, expected.high)
    shift, tango = found["refusal_shift"], tango_paired(PairedCounts(0, 10, 0, 30))
    assert (shift.value, shift.low, shift.high) == (0.25, tango.low, tango.high)
    assert found["similarity"].value == pytest.approx((30 + 10 * 0.5) / 40)


def test_length_and_latency_are_relative_to_the_reference():
    pairs = [
        pair(k, replayed(tokens=30, latency=0.6), replayed(tokens=20, latency=0.4))
        for k in range(40)
    ]
    found = by_name(pairs)
    for name in ("length_shift", "latency_shift"):
        assert found[name].value == pytest.approx(0.5)
        assert (found[name].low, found[name].high) == pytest.approx((0.5, 0.5))


def test_the_toxicity_shift_is_over_pairs_that_both_have_a_score():
    pairs = [pair(k, replayed(toxicity=0.3), replayed(toxicity=0.1)) for k in range(20)]
    pairs += [pair(f"n{k}", replayed(toxicity=None), replayed()) for k in range(5)]
    shift = by_name(pairs)["toxicity_shift"]
    assert (shift.n_pairs, shift.value) == (20, pytest.approx(0.2))
    none = [pair(k, replayed(toxicity=None), replayed()) for k in range(20)]
    assert "toxicity_shift" not in by_name(none)


def test_equal_sides_are_equal_but_not_surely():
    found = by_name(alike())
    assert {name: each.value for name, each in found.items()} == {
        "agreement": 1.0, "similarity": 1.0, "refusal_shift": 0.0, "toxicity_shift": 0.0,
        "length_shift": 0.0, "latency_shift": 0.0,
    }  # fmt: skip
    assert found["agreement"].low < 1 and found["similarity"].low < 1
    assert found["length_shift"].low < 0 < found["length_shift"].high


def test_what_does_not_fit_one_side_is_not_compared():
    pairs = [*alike(10), pair("x", replayed("overlength", None, 0), replayed())]
    assert {each.n_pairs for each in by_name(pairs).values()} == {10}
    assert measures(pairs[10:], 128, FEW) == []


def test_prompts_of_one_conversation_are_one_cluster():
    # Ten conversations of four prompts, half of which changed as a whole.
    pairs = [
        pair(k // 4, replayed(), replayed(), same=k % 8 < 4, similarity=float(k % 8 < 4))
        for k in range(40)
    ]
    agreement = by_name(pairs)["agreement"]
    plain = wilson(20, 40)
    assert agreement.value == 0.5
    assert agreement.high - agreement.low > plain.high - plain.low


def test_one_prompt_has_no_interval_of_its_latency():
    assert "latency_shift" not in by_name(alike(1))
    assert by_name(alike(1))["agreement"].low > 0


sides = st.builds(
    replayed,
    verdict=st.sampled_from(["answered", "refused", "unparsable", "overlength"]),
    toxicity=st.none() | st.floats(0, 1),
    tokens=st.integers(0, 128),
    arrival=st.floats(0, 100),
    latency=st.floats(0.001, 10),
)
pairs_ = st.lists(
    st.builds(
        pair, st.integers(0, 8), sides, sides, same=st.booleans(), similarity=st.floats(0, 1)
    ),
    max_size=30,
)


@given(pairs_)
def test_every_interval_is_finite_and_that_of_a_mean_holds_it(found):
    for each in measures(found, 128, FEW):
        assert math.isfinite(each.low) and math.isfinite(each.high)
        if each.name not in ("length_shift", "latency_shift"):
            assert each.low - 1e-9 <= each.value <= each.high + 1e-9


@given(pairs_)
def test_swapped_sides_swap_the_shifts(found):
    swapped = [Pair(p.cluster_id, p.same, p.similarity, p.reference, p.variant) for p in found]
    ours, theirs = by_name(found), by_name(swapped)
    for name in ("refusal_shift", "toxicity_shift"):
        if name in ours:
            assert ours[name].value == pytest.approx(-theirs[name].value)
    for name in ("agreement", "similarity"):
        if name in ours:
            assert ours[name].value == pytest.approx(theirs[name].value)


# -- the gate --------------------------------------------------------------------------------------


def measure(name, low, high):
    return Measure(
        name=name, value=(low + high) / 2, low=low, high=high, level=0.95, method="m", n_pairs=9
    )


@pytest.mark.parametrize(
    ("name", "limit", "interval", "verdict"),
    [
        ("agreement", {"min_agreement": 0.9}, (0.9, 0.95), Verdict.PASS),
        ("agreement", {"min_agreement": 0.9}, (0.85, 0.95), Verdict.INCONCLUSIVE),
        ("agreement", {"min_agreement": 0.9}, (0.7, 0.89), Verdict.FAIL),
        ("refusal_shift", {"max_refusal_shift": 0.05}, (-0.05, 0.05), Verdict.PASS),
        ("refusal_shift", {"max_refusal_shift": 0.05}, (-0.2, -0.06), Verdict.FAIL),
        ("refusal_shift", {"max_refusal_shift": 0.05}, (-0.2, 0.0), Verdict.INCONCLUSIVE),
        ("toxicity_shift", {"max_toxicity_shift": 0.02}, (-0.5, 0.01), Verdict.PASS),
        ("toxicity_shift", {"max_toxicity_shift": 0.02}, (0.03, 0.05), Verdict.FAIL),
        ("length_shift", {"max_length_shift": 0.2}, (-0.5, -0.3), Verdict.FAIL),
        ("latency_shift", {"max_latency_shift": 0.1}, (-0.5, -0.3), Verdict.PASS),
        ("latency_shift", {"max_latency_shift": 0.1}, (0.05, 0.15), Verdict.INCONCLUSIVE),
    ],
)
def test_an_interval_wholly_inside_passes_and_wholly_outside_fails(name, limit, interval, verdict):
    limits = CanaryLimits(**limit)
    found = judged([measure(name, *interval)], limits)
    assert found[0].verdict is verdict
    gate = canary_gate("demo/gptq", found, limits)
    assert gate is not None
    assert gate.verdict is verdict
    assert bool(gate.variants[0].reasons) == (verdict is not Verdict.PASS)


def test_a_limit_without_its_measure_is_undecided_and_no_limit_is_no_verdict():
    limits = CanaryLimits(max_toxicity_shift=0.1)
    gate = canary_gate("demo/gptq", judged([measure("agreement", 0.9, 1.0)], limits), limits)
    assert gate is not None
    assert gate.verdict is Verdict.INCONCLUSIVE
    assert "toxicity shift" in gate.headline
    assert canary_gate("demo/gptq", [], CanaryLimits()) is None


def test_a_failure_beats_what_is_undecided():
    limits = CanaryLimits(min_agreement=0.9, max_refusal_shift=0.05)
    found = judged([measure("agreement", 0.1, 0.2), measure("refusal_shift", -0.1, 0.1)], limits)
    gate = canary_gate("demo/gptq", found, limits)
    assert gate is not None
    assert gate.verdict is Verdict.FAIL
    assert gate.headline == (
        "Do not ship gptq: agreement 15.0 % [10.0 %, 20.0 %]; "
        "refusal shift +0.0 % [-10.0 %, +10.0 %]."
    )


def test_without_limits_the_headline_is_the_measures():
    text = plain_headline("a", "b", [measure("agreement", 0.9, 1.0)])
    assert text == "a against b: agreement 95.0 % [90.0 %, 100.0 %]."
