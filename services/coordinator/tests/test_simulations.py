"""What the statistics promise, by exact sums and long simulations (`make test-statistics`).

Each test prints what it found; docs/statistics.md holds the figures.
"""

import sys

import numpy as np
import pytest
from exact_coverage import coverage
from scipy.stats import binom
from test_comparing import EQUAL_PARTS, FAST, NAMES, of_two_sizes
from test_shifts_and_seeds import coverage_of_recipes

from assay_coordinator.statistics.comparing import compare
from assay_coordinator.statistics.decision import Verdict, non_inferiority
from assay_coordinator.statistics.guard import widened
from assay_coordinator.statistics.intervals import PairedCounts, tango_paired, wilson
from assay_coordinator.statistics.power import more_rows_needed, standard_error_of
from assay_coordinator.statistics.replays import Pair, Replayed, measures
from assay_coordinator.statistics.request import Options
from assay_coordinator.statistics.resampling import paired_bootstrap

pytestmark = pytest.mark.simulation

PAIRS = [100, 300, 1000]
DISCORDANCE = [0.01, 0.05, 0.20]
EFFECTS = (-1.0, 0.5)  # of a cluster that loses, and of one that gains


def said(text):
    """A figure for `pytest -rP`."""
    sys.stdout.write(f"{text}\n")


def tango(pairs):
    """Tango's interval of counts; how the rest agrees does not matter."""

    def interval(lost, gained):
        same = pairs - lost - gained
        return tango_paired(PairedCounts(same // 2, gained, lost, same - same // 2))

    return interval


def guarded_bootstrap(clusters):
    """The bootstrap of cluster means, widened where few clusters differ."""

    def interval(lost, gained):
        values = np.zeros(clusters)
        values[:lost], values[lost : lost + gained] = EFFECTS
        drawn = paired_bootstrap(
            lambda weights: (weights @ values) / weights.sum(axis=1),
            clusters,
            replicates=1000,
            seed=1000 * lost + gained,
        ).interval
        shares = np.full(clusters, 1 / clusters)
        return widened(drawn, values.mean(), shares, values != 0, limit=1.0)

    return interval


@pytest.mark.parametrize("discordance", DISCORDANCE)
@pytest.mark.parametrize("pairs", PAIRS)
@pytest.mark.parametrize("losing", [0.5, 0.7])
def test_the_interval_of_pairs_covers_95_percent_give_or_take_one_and_a_half(
    pairs, discordance, losing
):
    """Below five differing pairs there are too few outcomes for 95 %: more is covered, not less."""
    found = coverage(tango(pairs), pairs, losing * discordance, (1 - losing) * discordance)
    said(f"tango, {pairs} pairs, {discordance:.0%} differ, {losing:.0%} lose: {found.covered:.1%}")
    assert found.covered >= 0.935
    if pairs * discordance >= 5:
        assert found.covered <= 0.965


@pytest.mark.parametrize("discordance", DISCORDANCE)
@pytest.mark.parametrize("clusters", [100, 300])
def test_the_cluster_bootstrap_covers_95_percent_give_or_take_one_and_a_half(clusters, discordance):
    """Below ten differing clusters the guard widens it on purpose: then it covers more."""
    found = coverage(
        guarded_bootstrap(clusters), clusters, 0.6 * discordance, 0.4 * discordance, EFFECTS
    )
    said(f"cluster bootstrap, {clusters} clusters, {discordance:.0%} differ: {found.covered:.1%}")
    assert found.covered >= 0.935
    if clusters * discordance >= 15:
        assert found.covered <= 0.965


@pytest.mark.parametrize("trials", PAIRS)
def test_the_interval_of_a_score_alone_covers_95_percent_on_average_over_scores(trials):
    """A share of whole numbers cannot cover 95 % at every score: Wilson's swings around it."""
    ends = [wilson(k, trials) for k in range(trials + 1)]
    low, high = (np.array([getattr(end, name) for end in ends]) for name in ("low", "high"))
    shares = np.arange(0.02, 0.981, 0.005)
    covered = [
        binom.pmf(np.arange(trials + 1), trials, share)[(low <= share) & (share <= high)].sum()
        for share in shares
    ]
    said(f"wilson, {trials} trials: mean {np.mean(covered):.1%}, {min(covered):.1%} at the least")
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)
    assert min(covered) >= 0.915


@pytest.mark.parametrize("margin", [0.02, 0.05])
@pytest.mark.parametrize("pairs", PAIRS)
@pytest.mark.parametrize("gain", [0.0, 0.05])
def test_a_loss_of_the_margin_passes_the_gate_in_at_most_five_percent(margin, pairs, gain):
    found = coverage(tango(pairs), pairs, gain + margin, gain)
    said(
        f"gate, {pairs} pairs, margin {margin:.0%}, {gain:.0%} gain: passes {found.low_missed:.1%}"
    )
    assert found.low_missed <= 0.05


@pytest.mark.parametrize("margin", [0.02, 0.05])
@pytest.mark.parametrize("clusters", [100, 300])
def test_a_composite_that_loses_the_margin_passes_the_gate_in_at_most_five_percent(
    margin, clusters
):
    gain = 0.05
    loss = (margin + gain * EFFECTS[1]) / -EFFECTS[0]
    found = coverage(guarded_bootstrap(clusters), clusters, loss, gain, EFFECTS)
    said(f"gate, {clusters} clusters, margin {margin:.0%}: passes {found.low_missed:.1%}")
    assert found.low_missed <= 0.05


def test_a_loss_of_the_margin_in_a_small_scenario_passes_in_at_most_five_percent():
    """Half of the score is 30 rows, of which 4 % are lost: that is the margin of 2 points."""
    rng = np.random.default_rng(7)
    reference = of_two_sizes(0, 0)
    passed = []
    for _ in range(200):
        variant = of_two_sizes(0, rng.binomial(30, 0.04))
        (whole, *_) = compare(NAMES, EQUAL_PARTS, variant, reference, FAST)
        passed.append(whole.verdict is Verdict.PASS)
    said(f"gate, 300 and 30 rows of equal weight: passes {np.mean(passed):.1%}")
    assert np.mean(passed) <= 0.05


def test_the_rows_that_are_recommended_decide_with_eighty_percent():
    """No true difference, 5 % of pairs differ, margin 2 points: what 200 rows ask for is enough."""
    rng = np.random.default_rng(1)
    shares = [0.475, 0.025, 0.025, 0.475]
    passed = []
    for counts in rng.multinomial(200, shares, size=300):
        first = PairedCounts(*map(int, counts))
        error = standard_error_of(first.difference, tango_paired(first))
        rows = 200 + more_rows_needed(200, error, 0.02)
        interval = tango_paired(PairedCounts(*map(int, rng.multinomial(rows, shares))))
        passed.append(non_inferiority(interval, 0.02) is Verdict.PASS)
    said(f"rows recommended: {np.mean(passed):.1%} of studies without a loss pass")
    assert np.mean(passed) >= 0.75  # 80 %, less what 300 studies may stray


def test_the_recipe_interval_covers_when_seeds_differ():
    found = coverage_of_recipes(4000, rng_seed=5)
    said(f"claim about a recipe, crossed rows and seeds: {found:.1%}")
    assert found == pytest.approx(0.95, abs=0.015)


# -- canaries --------------------------------------------------------------------------------------

MOST_TOKENS = 128


def replayed_pairs(rng, prompts, changed, per_cluster=1):
    """Prompts of which a share is answered otherwise: longer, more toxic, refused more often."""

    def side(count, refused, tokens, toxic):
        lengths = np.clip(rng.geometric(1 / tokens, count), 1, MOST_TOKENS)
        return rng.random(count) < refused, lengths, rng.beta(1, toxic, count)

    clusters = prompts // per_cluster
    # Answers of one conversation change together or not at all.
    other = np.repeat(rng.random(clusters) < changed, per_cluster)
    reference, fresh = side(prompts, 0.1, 30, 19), side(prompts, 0.2, 36, 9)
    variant = [np.where(other, new, old) for new, old in zip(fresh, reference, strict=True)]
    similar = np.where(other, rng.beta(4, 4, prompts), 1.0)
    noise = rng.gamma(20, 1 / 20, (2, prompts))
    seconds = [0.2 + 0.01 * reference[1] * noise[0], 0.22 + 0.011 * variant[1] * noise[1]]

    def replay(values, latency, index):
        return Replayed(
            "refused" if values[0][index] else "answered", float(values[2][index]),
            int(values[1][index]), 0, 0.0, float(latency[index]),
        )  # fmt: skip

    return [
        Pair(
            f"c{index // per_cluster}", not other[index], float(similar[index]),
            replay(variant, seconds[1], index), replay(reference, seconds[0], index),
        )
        for index in range(prompts)
    ]  # fmt: skip


def point_values(pairs):
    return {each.name: each.value for each in measures(pairs, MOST_TOKENS, Options(replicates=200))}


@pytest.mark.parametrize(
    ("prompts", "changed", "per_cluster"),
    [(60, 0.3, 1), (300, 0.05, 1), (300, 0.3, 1), (300, 0.3, 4)],
)
def test_intervals_of_a_canary_cover_what_replays_of_other_prompts_would_show(
    prompts, changed, per_cluster
):
    rng = np.random.default_rng(11)
    truth = point_values(replayed_pairs(rng, 200_000, changed))
    missed = dict.fromkeys(truth, 0)
    studies = 400
    for study in range(studies):
        pairs = replayed_pairs(rng, prompts, changed, per_cluster)
        for each in measures(pairs, MOST_TOKENS, Options(replicates=400, seed=study)):
            missed[each.name] += not each.low <= truth[each.name] <= each.high
    covered = {name: 1 - count / studies for name, count in missed.items()}
    shown = ", ".join(f"{name} {share:.1%}" for name, share in covered.items())
    said(f"canary, {prompts} prompts, {per_cluster} each, {changed:.0%} changed: {shown}")
    # Toxicity and length are skewed, and where few answers change few draw their tails.
    assert min(covered.values()) >= 0.90
    assert np.mean(list(covered.values())) >= 0.935
