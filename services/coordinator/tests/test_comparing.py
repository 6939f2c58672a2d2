"""Comparisons from verdict shards: joins, composites, directions, degenerate output."""

import numpy as np
import pytest

from assay_coordinator.statistics.comparing import compare, score_interval
from assay_coordinator.statistics.correction import corrected
from assay_coordinator.statistics.decision import Verdict
from assay_coordinator.statistics.request import Names, Options
from assay_core.aggregation import Expr, parse_expr
from assay_core.errors import FailedPrecondition
from assay_core.verdicts import Verdict as Kind
from assay_core.verdicts import VerdictRow, to_table

NAMES = Names("demo/gptq-3bit/seed0", "demo/dense/seed0", "ethics", "ethics", "assay-2026")
FAST = Options(replicates=400)


def accuracy(**weights: int) -> Expr:
    """The weighted mean of scenarios, in points."""
    terms = [
        {"weight": weight, "of": {"op": "mean", "scenario": scenario}}
        for scenario, weight in weights.items()
    ]
    return parse_expr({"op": "scale", "by": 100, "of": {"op": "weighted_mean", "terms": terms}})


ACCURACY = accuracy(zero=3, few=1)
ONE_SCENARIO = parse_expr({"op": "scale", "by": 100, "of": {"op": "mean", "scenario": "zero"}})
LEAKAGE = parse_expr(
    {"op": "scale", "by": 100, "of": {"op": "one_minus", "of": {"op": "mean", "scenario": "zero"}}}
)


def row(scenario, sample, value, cluster=None, completion=0, kind=Kind.ANSWERED, **more):
    fields = {"group": None, "label": None, "prompt_tokens": 10, "completion_tokens": 3} | more
    return VerdictRow(
        scenario=scenario,
        sample_id=sample,
        cluster_id=cluster or sample,
        completion_index=completion,
        verdict=kind,
        value=value,
        **fields,
    )


def binary(scenario, values):
    return [row(scenario, f"s{index:04d}", float(v)) for index, v in enumerate(values)]


def test_composite_difference_has_the_formulas_weights():
    reference = to_table(binary("zero", [1] * 40) + binary("few", [1] * 40))
    variant = to_table(binary("zero", [1] * 40) + binary("few", [0] * 10 + [1] * 30))
    whole, zero, few = compare(NAMES, ACCURACY, variant, reference, FAST)
    assert whole.scenario == ""
    assert whole.difference == pytest.approx(-25 / 4)
    assert (few.scenario, few.difference) == ("few", pytest.approx(-25))
    assert (zero.scenario, zero.difference) == ("zero", 0)


def test_binary_pairs_of_one_scenario_use_mcnemar_and_tango():
    reference = to_table(binary("zero", [1] * 50 + [0] * 50))
    variant = to_table(binary("zero", [0] * 12 + [1] * 38 + [1] * 3 + [0] * 47))
    (whole,) = compare(NAMES, ONE_SCENARIO, variant, reference, FAST)
    assert (whole.lost, whole.gained) == (12, 3)
    assert whole.test == "mcnemar-exact"
    assert whole.interval_method == "tango"
    assert whole.interval_low < whole.difference < whole.interval_high
    assert whole.difference == pytest.approx(-9)


def test_a_lower_level_gives_a_shorter_interval_within_the_other():
    reference = to_table(binary("zero", [1] * 50 + [0] * 50))
    variant = to_table(binary("zero", [0] * 12 + [1] * 38 + [1] * 3 + [0] * 47))
    (wide,) = compare(NAMES, ONE_SCENARIO, variant, reference, FAST)
    (short,) = compare(NAMES, ONE_SCENARIO, variant, reference, Options(replicates=400, level=0.8))
    assert (short.interval_method, short.confidence_level) == ("tango", 0.8)
    assert wide.interval_low < short.interval_low < short.interval_high < wide.interval_high


def test_a_value_that_means_harm_is_lost_when_it_appears():
    reference = to_table(binary("zero", [0] * 30))
    variant = to_table(binary("zero", [1] * 6 + [0] * 24))
    (whole,) = compare(NAMES, LEAKAGE, variant, reference, FAST)
    assert whole.difference == pytest.approx(-20)
    assert (whole.lost, whole.gained) == (6, 0)
    assert whole.interval_high < 0


def test_rows_that_share_a_cluster_are_not_taken_as_independent():
    def shard(values):
        rows = [
            row("zero", f"s{i}-{copy}", float(v), cluster=f"c{i}")
            for i, v in enumerate(values)
            for copy in range(10)
        ]
        return to_table(rows)

    reference, variant = shard([1] * 20), shard([0] * 4 + [1] * 16)
    (whole,) = compare(NAMES, ONE_SCENARIO, variant, reference, FAST)
    assert (whole.n_pairs, whole.n_clusters) == (200, 20)
    assert whole.interval_method.startswith("paired cluster bootstrap")
    assert whole.interval_high - whole.interval_low > 25  # 20 clusters, not 200 rows
    assert whole.p_value > 0.05


def test_completions_are_averaged_within_a_sample():
    reference = to_table(
        [row("zero", f"s{i}", 0.0, completion=k) for i in range(30) for k in range(4)]
    )
    variant = to_table(
        [row("zero", f"s{i}", float(k == 0), completion=k) for i in range(30) for k in range(4)]
    )
    (whole,) = compare(NAMES, ONE_SCENARIO, variant, reference, FAST)
    assert whole.difference == pytest.approx(25)
    assert whole.lost is None


def test_equal_shards_are_non_inferior_if_there_are_enough_of_them():
    def equal(rows):
        shard = to_table(binary("zero", [1, 0] * rows) + binary("few", [1, 0] * rows))
        return compare(NAMES, ACCURACY, shard, shard, FAST)[0]

    many, few = equal(200), equal(20)
    assert (many.difference, many.p_value, many.verdict) == (0, 1.0, Verdict.PASS)
    # No difference among 40 clusters does not exclude a loss of 2 points.
    assert few.verdict is Verdict.INCONCLUSIVE
    assert few.interval_high == pytest.approx(100 * 3.8415 / 43.8415, abs=0.01)
    assert few.minimum_detectable_effect == pytest.approx(
        few.interval_high * (1.959964 + 0.841621) / 1.959964, rel=1e-5
    )


EQUAL_PARTS = accuracy(large=1, small=1)


def of_two_sizes(large, small):
    """300 rows and 30 with equal weights: a row of the small scenario moves the score by 1.67."""
    rows = [row("large", f"l{i}", float(i >= large)) for i in range(300)]
    return to_table([*rows, *(row("small", f"s{i}", float(i >= small)) for i in range(30))])


def test_no_difference_in_a_small_scenario_says_little_of_a_score_that_it_is_half_of():
    """4 % of its rows lost is the margin, and in 3 of 10 studies none of 30 rows shows it."""
    (whole, *_) = compare(NAMES, EQUAL_PARTS, of_two_sizes(0, 0), of_two_sizes(0, 0), FAST)
    assert whole.difference == 0
    assert whole.verdict is Verdict.INCONCLUSIVE
    assert whole.interval_high == pytest.approx(100 * 3.8415 / (60 + 3.8415), abs=0.01)


def test_many_differences_in_a_large_scenario_do_not_speak_for_a_small_one():
    (whole, *_) = compare(NAMES, EQUAL_PARTS, of_two_sizes(12, 0), of_two_sizes(0, 0), FAST)
    assert whole.difference == pytest.approx(-2)
    small, large = 100 * 3.8415 / 63.8415, 1.96 * 50 * 0.2 * 0.98**0.5 / 300**0.5
    arm = whole.interval_high - whole.difference
    assert arm == pytest.approx((small**2 + large**2) ** 0.5, abs=0.2)


def test_a_scenario_of_unequal_weight_is_not_pooled_although_the_pools_agree():
    """Lost and gained rows are one each way, but not of equal weight."""
    variant = of_two_sizes(12, 0)
    (whole, *_) = compare(NAMES, EQUAL_PARTS, variant, variant, FAST)
    assert whole.interval_method != "tango"


def test_lost_and_gained_are_about_good_answers_in_every_scenario():
    formula = parse_expr(
        {
            "op": "scale",
            "by": 100,
            "of": {
                "op": "weighted_mean",
                "terms": [
                    {"weight": 1, "of": {"op": "mean", "scenario": "zero"}},
                    {
                        "weight": 1,
                        "of": {"op": "one_minus", "of": {"op": "mean", "scenario": "harm"}},
                    },
                ],
            },
        }
    )
    reference = to_table(binary("zero", [1] * 40) + binary("harm", [0] * 40))
    variant = to_table(binary("zero", [0] * 3 + [1] * 37) + binary("harm", [1] * 5 + [0] * 35))
    (whole, *_) = compare(NAMES, formula, variant, reference, FAST)
    assert (whole.lost, whole.gained) == (8, 0)


def test_samples_of_one_side_are_left_out_and_said():
    reference = to_table(binary("zero", [1] * 10))
    variant = to_table(binary("zero", [1] * 8))
    (whole,) = compare(NAMES, ONE_SCENARIO, variant, reference, FAST)
    assert (whole.n_pairs, whole.n_unpaired) == (8, 2)
    assert any("2 samples" in note for note in whole.notes)


def test_a_missing_scenario_makes_it_incomplete_and_never_a_silent_mean():
    shard = to_table(binary("zero", [1, 0] * 10))
    whole = compare(NAMES, ACCURACY, shard, shard, FAST)[0]
    assert not whole.complete
    assert whole.notes == ("few has no common samples",)


def test_another_cluster_for_one_sample_is_another_pack():
    reference = to_table([row("zero", "a", 1.0, cluster="x")])
    variant = to_table([row("zero", "a", 1.0, cluster="y")])
    with pytest.raises(FailedPrecondition, match="same data pack"):
        compare(NAMES, ONE_SCENARIO, variant, reference, FAST)


def test_nothing_in_common_says_so():
    reference, variant = to_table(binary("few", [1])), to_table(binary("zero", [1]))
    (whole,) = compare(NAMES, ONE_SCENARIO, variant, reference, FAST)
    assert whole.difference is None
    assert "no common samples" in whole.notes


def test_fairness_swaps_whole_people_and_warns_of_its_bias():
    rng = np.random.default_rng(5)
    formula = parse_expr(
        {
            "op": "scale",
            "by": 100,
            "of": {"op": "one_minus", "of": {"op": "dpd", "scenario": "zero"}},
        }
    )

    def shard(gap):
        rows = []
        for i in range(200):
            group = str(i % 2)
            value = float(rng.random() < (0.5 + gap * (i % 2)))
            rows.append(row("zero", f"s{i}", value, group=group, label=str(i // 2 % 2)))
        return to_table(rows)

    fair, unfair = shard(0.0), shard(0.4)
    (whole,) = compare(NAMES, formula, unfair, fair, FAST)
    assert whole.difference < -15
    assert whole.p_value < 0.05
    assert whole.interval_high < 0
    assert any("biased upward near 0" in note for note in whole.notes)


def test_one_answer_to_everything_is_degenerate():
    def shard(predict):
        return to_table(
            [row("zero", f"s{i}", float(predict(i) == i % 2), label=str(i % 2)) for i in range(60)]
        )

    healthy, stuck = shard(lambda i: (i + (i % 7 == 0)) % 2), shard(lambda i: 1)
    (whole,) = compare(NAMES, ONE_SCENARIO, stuck, healthy, FAST)
    assert "same answer to every row of zero" in whole.degenerate
    assert compare(NAMES, ONE_SCENARIO, healthy, healthy, FAST)[0].degenerate == ""


def test_gibberish_is_degenerate_and_its_unparsable_shift_is_shown():
    reference = to_table(binary("zero", [0] * 40))
    variant = to_table([row("zero", f"s{i:04d}", 0.0, kind=Kind.UNPARSABLE) for i in range(40)])
    (whole,) = compare(NAMES, LEAKAGE, variant, reference, FAST)
    assert whole.unparsable_shift == 1.0
    assert "cannot be parsed" in whole.degenerate


def test_holm_is_over_the_dimensions_of_one_variant():
    def comparison(dimension, p_value, variant="a", scenario=""):
        shard = to_table(binary("zero", [1]))
        names = Names(variant, "dense", dimension, "m", "p")
        made = compare(names, ONE_SCENARIO, shard, shard, FAST)[0]
        return made.model_copy(update={"p_value": p_value, "scenario": scenario})

    adjusted = corrected(
        [
            comparison("x", 0.01),
            comparison("y", 0.04),
            comparison("y", 0.001, scenario="z"),
            comparison("x", 0.03, variant="b"),
        ]
    )
    assert [c.p_value_holm for c in adjusted] == [0.02, 0.04, None, 0.03]


def test_score_interval_holds_the_score():
    shard = to_table(binary("zero", [1] * 70 + [0] * 30))
    interval = score_interval(ONE_SCENARIO, shard, FAST)
    assert interval.low < 70 < interval.high
    assert score_interval(ONE_SCENARIO, to_table(binary("few", [1])), FAST) is None


def test_a_score_without_a_miss_is_not_taken_for_certain():
    interval = score_interval(ONE_SCENARIO, to_table(binary("zero", [1] * 20)), FAST)
    assert interval.high == 100
    assert interval.low == pytest.approx(100 - 100 * 3.8415 / 23.8415, abs=0.01)
