"""The cluster bootstrap and the permutation test: coverage, type I error, determinism."""

import math

import numpy as np
import pytest

from assay_coordinator.statistics.resampling import paired_bootstrap, permutation_p_value


def weighted_mean(values):
    """Ratio of weighted sums, as a composite mean over clusters is computed."""
    return lambda weights: (weights @ values) / weights.sum(axis=1)


def test_the_same_seed_gives_the_same_interval():
    statistic = weighted_mean(np.random.default_rng(0).normal(size=50))
    first = paired_bootstrap(statistic, 50, replicates=300, seed=5)
    assert first == paired_bootstrap(statistic, 50, replicates=300, seed=5)
    assert first.interval != paired_bootstrap(statistic, 50, replicates=300, seed=6).interval


def test_standard_error_is_that_of_the_mean():
    values = np.random.default_rng(1).normal(size=400)
    result = paired_bootstrap(weighted_mean(values), 400)
    assert result.standard_error == pytest.approx(values.std(ddof=1) / 20, rel=0.06)


@pytest.mark.parametrize("clusters", [25, 100])
def test_interval_covers_the_truth_at_its_level(clusters):
    rng = np.random.default_rng(clusters)
    covered, studies = 0, 600
    for study in range(studies):
        values = rng.exponential(size=clusters) - rng.exponential(size=clusters)
        interval = paired_bootstrap(
            weighted_mean(values), clusters, replicates=400, seed=study
        ).interval
        covered += interval.low <= 0.0 <= interval.high
    assert 0.925 <= covered / studies <= 0.98


def test_strata_keep_their_number_of_clusters():
    strata = np.array([0] * 30 + [1] * 10)
    values = np.array([0.0] * 30 + [1.0] * 10)
    result = paired_bootstrap(weighted_mean(values), 40, strata=strata, replicates=200)
    assert result.standard_error == 0.0  # each draw has exactly 30 zeros and 10 ones


def test_one_cluster_decides_nothing():
    result = paired_bootstrap(weighted_mean(np.array([1.0])), 1, replicates=100)
    assert (result.interval.low, result.interval.high) == (-math.inf, math.inf)


def sign_flip(values):
    return lambda swaps: ((1 - 2 * swaps) @ values) / values.size


def test_permutation_is_uniform_without_a_difference():
    rng = np.random.default_rng(11)
    p_values = []
    for study in range(400):
        values = rng.normal(size=40)
        p_values.append(
            permutation_p_value(
                sign_flip(values), 40, float(values.mean()), replicates=199, seed=study
            )
        )
    assert np.mean(np.array(p_values) <= 0.05) == pytest.approx(0.05, abs=0.025)


def test_permutation_sees_a_difference_and_is_never_zero():
    values = np.random.default_rng(2).normal(1.0, 0.5, size=40)
    p_value = permutation_p_value(sign_flip(values), 40, float(values.mean()), replicates=999)
    assert p_value == pytest.approx(1 / 1000)


def test_gate_error_at_the_margin_is_below_five_percent():
    """P(pass) when the true loss equals the margin: the promise of the gate."""
    rng = np.random.default_rng(23)
    margin, passed, studies = 2.0, 0, 500
    for study in range(studies):
        values = rng.normal(-margin, 10.0, size=150)
        interval = paired_bootstrap(weighted_mean(values), 150, replicates=400, seed=study).interval
        passed += -interval.low < margin
    assert passed / studies <= 0.05
