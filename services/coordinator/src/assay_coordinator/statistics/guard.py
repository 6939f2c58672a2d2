"""A guard on resampled intervals: what few differing clusters cannot show.

Resampling cannot draw what did not happen: where no cluster differs its interval has no width, and
where few do it is too short. How far off it may be depends on how far one cluster can move the
score. In a mean over scenarios of unequal sizes a cluster of a small one moves it far, and that
none of its few rows differs says little, however many rows of the others agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from assay_coordinator.statistics.interval import Interval
from assay_coordinator.statistics.intervals import few_differences_margin
from assay_coordinator.statistics.request import FEW_DIFFERING_CLUSTERS
from assay_coordinator.statistics.resampling import Floats
from assay_core.aggregation import Disparity, Expr, Mean, Scale, Table, WeightedMean
from assay_core.sample_table import ScenarioTable

Booleans = NDArray[np.bool_]
_FULL_SCALE = 100.0


def cluster_shares(formula: Expr, table: Table) -> Floats:
    """Largest change of the score that each cluster can make, as a share of the scale, float[C].

    A cluster holds its part of a scenario's samples; of a difference between groups, its part of
    the group's, or of the group's of one label for equalized odds. Parts add with their weights.
    """
    shares = np.zeros(len(table.clusters))
    for leaf, weight in _weighted_leaves(formula, 1.0):
        data = table.scenarios.get(leaf.scenario)
        if data is not None:
            shares += weight * _shares_of_leaf(leaf, data, len(shares))
    result: Floats = np.minimum(1.0, shares / _FULL_SCALE)
    return result


def widened(
    drawn: Interval, estimate: float, shares: Floats, differing: Booleans, *, limit: float
) -> Interval:
    """An interval, widened where fewer than ten of the clusters that weigh most differ.

    The clusters that weigh at least half of the heaviest decide: a score of equal clusters has no
    others. `few_differences_margin` says how far the estimate may be off by them; what differs
    among lighter clusters is in `drawn` and comes on top, independently.

    Args:
        drawn: The interval by resampling; may be infinite.
        estimate: The estimate.
        shares: How far each cluster can move it, as a share of `limit`.
        differing: Clusters in which the two sides differ.
        limit: Largest estimate there can be: 1 for fractions, 100 for points.
    """
    heaviest = float(shares.max(initial=0.0))
    if heaviest == 0.0:
        return drawn
    heavy = shares >= heaviest / 2
    seen = int(np.count_nonzero(differing & heavy))
    if seen >= FEW_DIFFERING_CLUSTERS:
        return drawn
    reach = limit * few_differences_margin(seen, 1 / heaviest, drawn.level)
    down = up = reach
    if math.isfinite(drawn.low):
        lighter = bool((differing & ~heavy).any())
        down = _longer(reach, estimate - drawn.low, lighter)
        up = _longer(reach, drawn.high - estimate, lighter)
    method = f"{drawn.method}, widened because {int(differing.sum())} clusters differ"
    return Interval(max(-limit, estimate - down), min(limit, estimate + up), drawn.level, method)


def _longer(reach: float, arm: float, independent: bool) -> float:
    """The longer of two arms, or both in quadrature where they are about different clusters."""
    return math.hypot(reach, max(0.0, arm)) if independent else max(reach, arm)


def _weighted_leaves(formula: Expr, weight: float) -> Iterator[tuple[Mean | Disparity, float]]:
    """Leaves with how far the score moves when they move by 1; Exp never moves it further."""
    if isinstance(formula, Mean | Disparity):
        yield formula, weight
    elif isinstance(formula, WeightedMean):
        total = sum(term.weight for term in formula.terms)
        for term in formula.terms:
            yield from _weighted_leaves(term.of, weight * term.weight / total)
    else:
        factor = abs(formula.by) if isinstance(formula, Scale) else 1.0
        yield from _weighted_leaves(formula.of, factor * weight)


def _shares_of_leaf(leaf: Mean | Disparity, data: ScenarioTable, clusters: int) -> Floats:
    known = ~np.isnan(data.value)
    if isinstance(leaf, Mean):
        cells = np.zeros(len(known), dtype=np.int64)
    elif leaf.op == "dpd":
        cells = data.group
    else:
        cells = data.group * 2 + np.maximum(0, data.label)
    shares = np.zeros(clusters)
    for cell in np.unique(cells[known]):
        members = data.cluster[known & (cells == cell)]
        shares += np.bincount(members, minlength=clusters) / members.size
    return shares
