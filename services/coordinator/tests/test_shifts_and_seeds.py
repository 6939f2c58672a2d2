"""Refusal shifts, flips, recipes and corrections, against scipy and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from test_comparing import NAMES, ONE_SCENARIO, binary, row

from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.domain.policy import Claim
from assay_coordinator.statistics.comparing import compare, frame_of
from assay_coordinator.statistics.correction import corrected
from assay_coordinator.statistics.decision import Verdict, equivalence
from assay_coordinator.statistics.interval import Interval
from assay_coordinator.statistics.pairing import pair
from assay_coordinator.statistics.recipes import compare_recipe
from assay_coordinator.statistics.request import Options
from assay_coordinator.statistics.resampling import paired_bootstrap, permutation_p_value
from assay_coordinator.statistics.seeds import recipe_estimate
from assay_coordinator.statistics.shifts import flip_rate, refusal_shift
from assay_coordinator.statistics.significance import benjamini_hochberg
from assay_core.verdicts import Verdict as Kind
from assay_core.verdicts import to_table

FAST = Options(replicates=400)


def pairs_of(variant, reference):
    return pair(frame_of(to_table(variant)), frame_of(to_table(reference)))


def refusals(marks, completions=1, per_cluster=1):
    """One row per mark; `completions` rows make a sample, `per_cluster` samples a cluster."""
    return [
        row(
            "zero",
            f"s{index // completions:04d}",
            1.0,
            cluster=f"c{index // completions // per_cluster:04d}",
            completion=index % completions,
            kind=Kind.REFUSED if mark else Kind.ANSWERED,
        )
        for index, mark in enumerate(marks)
    ]


def test_single_refusals_are_compared_by_mcnemar():
    found = refusal_shift(pairs_of(refusals([1] * 8 + [0] * 92), refusals([0] * 100)), FAST)
    assert found.shift == pytest.approx(0.08)
    assert found.p_value == pytest.approx(stats.binomtest(8, 8).pvalue)
    assert 0 < found.interval.low < 0.08 < found.interval.high


def test_refusals_of_clusters_are_compared_by_resampling_clusters():
    rng = np.random.default_rng(5)
    reference = rng.random(600) < 0.2
    variant = reference | (rng.random(600) < 0.15)
    found = refusal_shift(pairs_of(refusals(variant, 3, 2), refusals(reference, 3, 2)), FAST)
    assert found.shift == pytest.approx(variant.mean() - reference.mean())
    per_cluster = (variant.astype(float) - reference).reshape(100, 6).mean(axis=1)
    half = 1.96 * per_cluster.std(ddof=1) / 10
    assert found.interval.low == pytest.approx(found.shift - half, abs=0.01)
    assert found.interval.high == pytest.approx(found.shift + half, abs=0.01)
    assert found.p_value < 0.01


def test_no_refusal_among_few_clusters_is_not_proof_of_none():
    found = refusal_shift(pairs_of(refusals([0] * 60, 3), refusals([0] * 60, 3)), FAST)
    assert found.shift == 0
    assert found.interval.high > 0.1


def test_flips_count_both_directions_and_classes():
    reference = binary("zero", [1, 1, 0, 0, 1])
    variant = binary("zero", [0, 1, 1, 0, 1])
    assert flip_rate(pairs_of(variant, reference)) == pytest.approx(2 / 5)
    unparsable = [*variant[:4], row("zero", "s0004", 1.0, kind=Kind.UNPARSABLE)]
    assert flip_rate(pairs_of(unparsable, reference)) == pytest.approx(3 / 5)


def test_equal_gains_and_losses_have_no_net_change_and_many_flips():
    reference = to_table(binary("zero", [1] * 20 + [0] * 20 + [1] * 60))
    variant = to_table(binary("zero", [0] * 20 + [1] * 20 + [1] * 60))
    (whole,) = compare(NAMES, ONE_SCENARIO, variant, reference, FAST)
    assert whole.difference == 0
    assert whole.flip_rate == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-1.9, 1.9, Verdict.PASS),
        (-2.1, 1.0, Verdict.INCONCLUSIVE),
        (2.1, 9.0, Verdict.FAIL),
        (-9.0, -2.1, Verdict.FAIL),
    ],
)
def test_equivalence_needs_both_margins(low, high, verdict):
    assert equivalence(Interval(low, high), 2.0) is verdict


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30))
def test_benjamini_hochberg_equals_scipy(p_values):
    expected = stats.false_discovery_control(p_values, method="bh")
    assert benjamini_hochberg(p_values) == pytest.approx(list(expected))


def test_families_are_variant_for_holm_and_study_for_benjamini_hochberg():
    def one(variant, dimension, p):
        return Comparison(
            variant_key=variant, reference_key="r", dimension=dimension, metric=dimension,
            parser_version="assay-2026", p_value=p,
        )  # fmt: skip

    given_p = [("a", "ethics", 0.01), ("a", "privacy", 0.04), ("b", "ethics", 0.03)]
    found = corrected([one(*each) for each in given_p])
    assert [c.p_value_holm for c in found] == pytest.approx([0.02, 0.04, 0.03])
    expected = multipletests([0.01, 0.04, 0.03], method="fdr_bh")[1]
    assert [c.p_value_bh for c in found] == pytest.approx(list(expected))


def test_bootstrap_agrees_with_scipys_on_random_data():
    values = np.random.default_rng(4).gamma(2.0, size=120)
    ours = paired_bootstrap(lambda w: (w @ values) / w.sum(axis=1), 120, replicates=4000).interval
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=1)
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.02)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.02)


def test_permutation_agrees_with_scipys_on_random_data():
    rng = np.random.default_rng(9)
    ours, theirs = rng.normal(0.3, 1.0, 40), rng.normal(0.0, 1.0, 40)
    values = ours - theirs
    p_value = permutation_p_value(
        lambda swaps: ((1 - 2 * swaps) @ values) / 40, 40, float(values.mean()), replicates=9999
    )
    expected = stats.permutation_test(
        (ours, theirs), lambda x, y: np.mean(x - y), permutation_type="samples",
        n_resamples=9999, rng=2,
    )  # fmt: skip
    assert p_value == pytest.approx(expected.pvalue, abs=0.015)


# -- the claim about a recipe --------------------------------------------------------------------


def test_without_row_error_the_interval_is_the_t_interval_of_the_seeds():
    differences = [-1.0, -2.0, -1.5, -3.0, -2.5]
    found = recipe_estimate(differences, 0.0, 100)
    expected = stats.t.interval(0.95, 4, np.mean(differences), stats.sem(differences))
    assert (found.interval.low, found.interval.high) == pytest.approx(expected)
    assert found.between_seed_sd == pytest.approx(np.std(differences, ddof=1))


def test_one_seed_says_nothing_of_a_recipe():
    assert not math.isfinite(recipe_estimate([-1.0], 1.0, 100).interval.low)


def coverage_of_recipes(studies, seeds=5, clusters=80, rng_seed=1):
    """Rows and seeds are drawn anew in each study; the truth is the mean over both."""
    rng = np.random.default_rng(rng_seed)
    covered = 0
    for _ in range(studies):
        rows = rng.normal(0, 6.0, clusters)
        seed_effects = rng.normal(0, 2.0, seeds)
        noise = rng.normal(0, 8.0, (seeds, clusters))
        values = -1.0 + rows + seed_effects[:, None] + noise
        error = values.mean(axis=0).std(ddof=1) / math.sqrt(clusters)
        interval = recipe_estimate(list(values.mean(axis=1)), error, clusters).interval
        covered += interval.low <= -1.0 <= interval.high
    return covered / studies


def test_the_recipe_interval_covers_when_seeds_differ():
    assert 0.93 <= coverage_of_recipes(1000) <= 0.995


def test_a_recipe_is_compared_by_the_mean_over_its_seeds():
    rng = np.random.default_rng(3)
    reference = (rng.random(200) < 0.9).astype(float)
    variants = [np.where(rng.random(200) < share, 0.0, reference) for share in (0.1, 0.2, 0.15)]
    shards = [to_table(binary("zero", list(values))) for values in variants]
    dense = to_table(binary("zero", list(reference)))
    per_seed = [compare(NAMES, ONE_SCENARIO, shard, dense, FAST)[0] for shard in shards]
    found = compare_recipe(NAMES, ONE_SCENARIO, shards, dense, per_seed=per_seed, options=FAST)
    assert (found.claim, found.n_seeds, found.n_pairs) == (Claim.RECIPE, 3, 200)
    assert found.difference == pytest.approx(np.mean([c.difference for c in per_seed]))
    widest = max(c.interval_high - c.interval_low for c in per_seed)
    assert found.interval_high - found.interval_low > widest  # three seeds are few
    assert found.between_seed_sd == pytest.approx(np.std([c.difference for c in per_seed], ddof=1))


def test_seeds_that_change_none_of_a_few_rows_do_not_prove_a_recipe():
    shard = to_table([*binary("zero", [1, 0] * 10), *binary("unscored", [1] * 50)])
    per_seed = [compare(NAMES, ONE_SCENARIO, shard, shard, FAST)[0]] * 5
    found = compare_recipe(NAMES, ONE_SCENARIO, [shard] * 5, shard, per_seed=per_seed, options=FAST)
    assert (found.difference, found.n_pairs) == (0, 20)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.interval_high == pytest.approx(100 * 3.8415 / 23.8415, abs=0.01)


def test_an_undecided_comparison_says_how_many_rows_would_decide_it():
    rng = np.random.default_rng(8)
    reference = (rng.random(150) < 0.9).astype(float)
    variant = np.where(rng.random(150) < 0.03, 1 - reference, reference)
    (whole,) = compare(
        NAMES, ONE_SCENARIO, to_table(binary("zero", list(variant))),
        to_table(binary("zero", list(reference))), Options(replicates=400, margin=3.0),
    )  # fmt: skip
    assert whole.verdict is Verdict.INCONCLUSIVE
    assert whole.rows_needed > 0
    (sure,) = compare(
        NAMES, ONE_SCENARIO, to_table(binary("zero", list(reference))),
        to_table(binary("zero", list(reference))), Options(replicates=400, margin=3.0),
    )  # fmt: skip
    assert sure.verdict is Verdict.PASS
    assert sure.rows_needed is None
