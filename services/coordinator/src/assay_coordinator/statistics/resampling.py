"""Cluster bootstrap and label-swap permutation for the difference of two composite scores.

A composite (weighted means over scenarios, differences of rates between groups) has no closed-form
standard error, and its samples are not independent: one source sentence recurs in ten styles. So
whole clusters are drawn, jointly over scenarios and on both sides at once, and the whole composite
is computed again for every draw. A draw is a row of *cluster multiplicities*: how often each
cluster is in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from assay_coordinator.statistics.interval import LEVEL, Interval
from assay_coordinator.statistics.request import REPLICATES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# weights float[B, clusters] -> score float[B]
Statistic = Callable[[Floats], Floats]

_CELLS_PER_CHUNK = 8_000_000  # 64 MB of float64


@dataclass(frozen=True)
class Bootstrap:
    """What resampling says about a difference."""

    interval: Interval
    standard_error: float
    replicates: int


def paired_bootstrap(
    difference: Statistic,
    clusters: int,
    *,
    strata: Ints | None = None,
    replicates: int = REPLICATES,
    level: float = LEVEL,
    seed: int = 0,
) -> Bootstrap:
    """Percentile interval of a paired difference under resampling of clusters.

    Davison and Hinkley (1997), "Bootstrap Methods and their Application", section 3.8 (clusters)
    and 5.3 (percentile). With few clusters the plain percentile interval is too short by about
    sqrt((n-1)/n) and by using z where t is due, so its tails are widened as Hesterberg (2015),
    "What Teachers Should Know About the Bootstrap", The American Statistician 69:371-386, section
    5.1.1 ("expanded percentile") proposes.

    Args:
        difference: Maps multiplicities [B, clusters] to differences [B]; NaN where a draw lacks
            what the composite needs (such draws are left out).
        clusters: Number of clusters.
        strata: Stratum of each cluster; draws keep the number of clusters of each stratum.
        replicates: Number of draws.
        level: Two-sided confidence level.
        seed: Seed of the draws; the same seed gives the same interval.
    """
    draws = np.concatenate(
        [difference(weights) for weights in _multiplicities(clusters, strata, replicates, seed)]
    )
    draws = draws[np.isfinite(draws)]
    if draws.size < replicates // 2 or clusters < 2:
        return Bootstrap(Interval(-math.inf, math.inf, level, "undetermined"), math.inf, draws.size)
    tail = _expanded_tail(clusters, level)
    low, high = np.quantile(draws, [tail, 1 - tail])
    method = f"paired cluster bootstrap, {draws.size} replicates"
    interval = Interval(float(low), float(high), level, method)
    return Bootstrap(interval, float(draws.std(ddof=1)), int(draws.size))


def _expanded_tail(clusters: int, level: float) -> float:
    """Tail probability whose percentile stands where a t interval with the n-1 variance would."""
    quantile = student.ppf(0.5 - level / 2, clusters - 1)
    return float(norm.cdf(math.sqrt(clusters / (clusters - 1)) * quantile))


def _multiplicities(
    clusters: int, strata: Ints | None, replicates: int, seed: int
) -> Iterator[Floats]:
    """Rows of cluster multiplicities, in chunks of bounded memory."""
    rng = np.random.default_rng(seed)
    groups = (
        [np.arange(clusters)]
        if strata is None
        else [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    )
    for rows in _chunks(replicates, clusters):
        weights = np.empty((rows, clusters))
        for members in groups:
            size = members.size
            # Counting draws is faster than drawing counts (a binomial for every cluster).
            drawn = rng.integers(0, size, size=(rows, size))
            drawn += np.arange(rows)[:, None] * size
            counts = np.bincount(drawn.ravel(), minlength=rows * size)
            weights[:, members] = counts.reshape(rows, size)
        yield weights


def permutation_p_value(
    swapped_difference: Statistic,
    clusters: int,
    observed: float,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> float:
    """Two-sided p-value of "variant and reference are exchangeable within every cluster".

    Under it the two labels of a cluster may be swapped. Good (2005), "Permutation, Parametric and
    Bootstrap Tests of Hypotheses", chapter 3; the observed labelling counts as one of the draws
    (Phipson and Smyth 2010), so the p-value is never zero.

    Args:
        swapped_difference: Maps swaps [B, clusters] (1 = swap the labels of this cluster) to the
            difference [B] after swapping.
        clusters: Number of clusters.
        observed: The difference without swaps.
        replicates: Number of random swaps.
        seed: Seed of the swaps.
    """
    rng = np.random.default_rng(seed)
    reached = total = 0
    threshold = abs(observed) - 1e-9
    for rows in _chunks(replicates, clusters):
        swaps = rng.integers(0, 2, size=(rows, clusters)).astype(np.float64)
        drawn = swapped_difference(swaps)
        drawn = drawn[np.isfinite(drawn)]
        reached += int(np.count_nonzero(np.abs(drawn) >= threshold))
        total += drawn.size
    return (reached + 1) / (total + 1)


def _chunks(replicates: int, clusters: int) -> Iterator[int]:
    size = max(1, _CELLS_PER_CHUNK // max(1, clusters))
    for start in range(0, replicates, size):
        yield min(size, replicates - start)
