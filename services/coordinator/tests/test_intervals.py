"""Intervals and tests of paired binary outcomes, against published examples and by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom, binomtest

from assay_coordinator.statistics.decision import Verdict, non_inferiority
from assay_coordinator.statistics.interval import Interval
from assay_coordinator.statistics.intervals import (
    PairedCounts,
    few_differences_margin,
    tango_paired,
    wilson,
)
from assay_coordinator.statistics.power import more_rows_needed, power
from assay_coordinator.statistics.significance import holm, mcnemar

small = st.integers(0, 60)
counts_strategy = st.builds(PairedCounts, small, small, small, small).filter(lambda c: c.pairs > 0)


def test_wilson_equals_scipys_score_interval():
    ours = wilson(15, 148)
    theirs = binomtest(15, 148).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_wilson_of_nothing_is_everything():
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0.0, 1.0)


def test_tango_ends_are_where_the_score_statistic_reaches_the_quantile():
    """Checked with a restricted maximum likelihood estimate found numerically, not by formula."""
    b, c, n = 3, 11, 60
    interval = tango_paired(PairedCounts(30, b, c, n - 30 - b - c))

    def score(delta):
        def negative_log_likelihood(p21):
            rest = 1 - 2 * p21 - delta
            return -(b * np.log(p21 + delta) + c * np.log(p21) + (n - b - c) * np.log(rest))

        low, high = max(1e-9, -delta + 1e-9), (1 - delta) / 2 - 1e-9
        p21 = minimize_scalar(negative_log_likelihood, bounds=(low, high), method="bounded").x
        return (b - c - n * delta) / np.sqrt(n * (2 * p21 + delta * (1 - delta)))

    assert score(interval.low) == pytest.approx(1.959964, abs=1e-3)
    assert score(interval.high) == pytest.approx(-1.959964, abs=1e-3)


@given(counts_strategy)
def test_intervals_hold_the_estimate_and_stay_in_range(counts):
    interval = tango_paired(counts)
    assert -1 <= interval.low <= counts.difference + 1e-9
    assert counts.difference - 1e-9 <= interval.high <= 1


@given(counts_strategy)
def test_swapping_the_sides_mirrors_the_interval(counts):
    swapped = PairedCounts(counts.both, counts.only_reference, counts.only_variant, counts.neither)
    ours, mirrored = tango_paired(counts), tango_paired(swapped).scaled(-1)
    assert (ours.low, ours.high) == pytest.approx((mirrored.low, mirrored.high), abs=1e-6)


@pytest.mark.parametrize("discordance", [0.01, 0.05, 0.20])
def test_coverage_is_nominal_at_every_discordance(discordance):
    rng = np.random.default_rng(7)
    pairs, studies = 300, 1500
    gain, loss = 0.3 * discordance, 0.7 * discordance
    draws = rng.multinomial(pairs, [0.8 - discordance, gain, loss, 0.2], size=studies)
    truth = gain - loss
    covered = 0
    for a, b, c, d in draws:
        interval = tango_paired(PairedCounts(int(a), int(b), int(c), int(d)))
        covered += interval.low <= truth <= interval.high
    assert 0.935 <= covered / studies <= 0.995


@pytest.mark.parametrize("margin", [0.02, 0.05])
@pytest.mark.parametrize("pairs", [50, 100, 300])
def test_pairs_that_only_lose_do_not_pass_a_loss_equal_to_the_margin(margin, pairs):
    """P(pass) <= 5 % exactly, in the case that is hardest: nobody gains, few lose."""
    passed = sum(
        binom.pmf(lost, pairs, margin)
        for lost in range(pairs // 4)
        if -tango_paired(PairedCounts(pairs // 2, 0, lost, pairs - pairs // 2 - lost)).low < margin
    )
    assert passed <= 0.05


@pytest.mark.parametrize("margin", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("clusters", [30, 150, 1000])
def test_few_differences_do_not_pass_a_loss_equal_to_the_margin(margin, clusters):
    """P(pass) <= 5 % exactly, where resampling alone would pass every study without a loss."""
    passed = sum(
        binom.pmf(lost, clusters, margin)
        for lost in range(10)
        if lost / clusters + few_differences_margin(lost, clusters) < margin
    )
    assert passed <= 0.05


def test_no_difference_at_all_has_the_end_of_tangos_interval():
    tango = tango_paired(PairedCounts(70, 0, 0, 30))
    assert few_differences_margin(0, 100) == pytest.approx(tango.high, abs=1e-6)


def test_mcnemar_is_exact_below_25_discordant_pairs():
    result = mcnemar(PairedCounts(100, 4, 12, 30))
    assert result.method == "mcnemar-exact"
    assert result.p_value == pytest.approx(binomtest(4, 16, 0.5).pvalue)


def test_mcnemar_is_the_uncorrected_chi_square_from_25_on():
    result = mcnemar(PairedCounts(100, 10, 25, 30))
    assert result.method == "mcnemar-asymptotic"
    assert result.p_value == pytest.approx(0.0112, abs=1e-4)  # chi2 = 15**2 / 35


def test_mcnemar_without_discordance_sees_no_difference():
    assert mcnemar(PairedCounts(10, 0, 0, 3)).p_value == 1.0


def test_holm_multiplies_from_the_smallest_and_stays_monotone():
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03})
    assert adjusted == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({}) == {}


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-1.9, 0.5, Verdict.PASS),  # the loss is at most 1.9
        (-6.0, -2.1, Verdict.FAIL),  # the loss is at least 2.1
        (-2.5, 0.1, Verdict.INCONCLUSIVE),
        (-2.0, 0.1, Verdict.INCONCLUSIVE),  # the margin itself is not inside
        (3.0, 9.0, Verdict.PASS),  # better is not worse
    ],
)
def test_non_inferiority_reads_the_interval_of_the_loss(low, high, verdict):
    assert non_inferiority(Interval(low, high), margin=2.0) is verdict


def test_power_is_reached_by_simulation():
    rng = np.random.default_rng(3)
    effect = power(1.0).minimum_detectable_effect
    estimates = rng.normal(effect, 1.0, size=20_000)
    assert np.mean(np.abs(estimates) > 1.959964) == pytest.approx(0.80, abs=0.01)


def test_rows_needed_grow_with_the_square():
    reach = power(1.0).achievable_margin
    assert more_rows_needed(100, 1.0, reach) == 0
    assert more_rows_needed(100, 1.0, reach / 2) == 300
