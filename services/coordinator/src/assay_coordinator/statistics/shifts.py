"""What changed beside the score: refusals as a comparison of their own, and flips.

A score can stand still while answers change. Refusals move a score by a rule of each dimension, so
their shift is judged by itself; and a net change of zero may hide many gains against many losses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from assay_coordinator.statistics.guard import widened
from assay_coordinator.statistics.interval import Interval
from assay_coordinator.statistics.intervals import PairedCounts, tango_paired
from assay_coordinator.statistics.pairing import KEY, Pairs
from assay_coordinator.statistics.request import Options
from assay_coordinator.statistics.resampling import (
    Floats,
    paired_bootstrap,
    permutation_p_value,
)
from assay_coordinator.statistics.significance import mcnemar

_REFUSED = "refused"
_COMPLETION = [*KEY, "completion_index"]
_EQUAL = 1e-9


@dataclass(frozen=True)
class RefusalShift:
    """Share of refused completions, variant minus reference, a fraction."""

    shift: float
    interval: Interval
    p_value: float
    test: str


def refusal_shift(pairs: Pairs, options: Options) -> RefusalShift | None:
    """Paired comparison of the refusal rates; None without a pair.

    McNemar and Tango where every sample is one completion of a cluster of its own; else cluster
    bootstrap and label-swap permutation of the difference of shares.
    """
    if pairs.n_pairs == 0:
        return None
    counts = _independent_counts(pairs)
    if counts is not None:
        result = mcnemar(counts)
        interval = tango_paired(counts, options.level)
        return RefusalShift(counts.difference, interval, result.p_value, result.method)
    variant, reference = _by_cluster(pairs.variant), _by_cluster(pairs.reference)
    clusters = len(variant)

    def difference(own: Floats, swapped: Floats) -> Floats:
        """Shares after clusters count `own` times as they are and `swapped` times exchanged."""
        ours, theirs = own @ variant + swapped @ reference, own @ reference + swapped @ variant
        result: Floats = ours[:, 0] / ours[:, 1] - theirs[:, 0] / theirs[:, 1]
        return result

    shift = float(difference(np.ones((1, clusters)), np.zeros((1, clusters)))[0])
    drawn = paired_bootstrap(
        lambda weights: difference(weights, np.zeros_like(weights)),
        clusters,
        replicates=options.replicates,
        level=options.level,
        seed=options.seed,
    )
    p_value = permutation_p_value(
        lambda swaps: difference(1 - swaps, swaps),
        clusters,
        shift,
        replicates=options.replicates,
        seed=options.seed,
    )
    shares = np.maximum(*(side[:, 1] / side[:, 1].sum() for side in (variant, reference)))
    differing = np.abs(variant[:, 0] - reference[:, 0]) > _EQUAL
    interval = widened(drawn.interval, shift, shares, differing, limit=1.0)
    return RefusalShift(shift, interval, p_value, "paired cluster permutation")


def changed_completions(pairs: Pairs) -> tuple[pl.DataFrame, int]:
    """Completions whose verdict or value differs, both sides in a row, and how many both have.

    Completions are joined on their index, whose seed both sides share.
    """
    columns = [*_COMPLETION, "verdict", "value"]
    both = pairs.variant.select(columns).join(
        pairs.reference.select(columns), on=_COMPLETION, suffix="_reference"
    )
    value, other = pl.col("value").fill_null(-1.0), pl.col("value_reference").fill_null(-1.0)
    changed = (pl.col("verdict") != pl.col("verdict_reference")) | ((value - other).abs() > _EQUAL)
    return both.filter(changed), both.height


def flip_rate(pairs: Pairs) -> float | None:
    """Share of paired completions that changed, either way, 0-1. None without a pair."""
    changed, compared = changed_completions(pairs)
    return changed.height / compared if compared else None


def _independent_counts(pairs: Pairs) -> PairedCounts | None:
    """2 x 2 counts of refusals, or None where samples share clusters or have many completions."""
    sides = (pairs.variant, pairs.reference)
    single = all(side.height == pairs.n_pairs for side in sides)
    if not single or pairs.n_clusters != pairs.n_pairs:
        return None
    ours, theirs = (side.sort(KEY)["verdict"].to_numpy() == _REFUSED for side in sides)
    return PairedCounts.of(ours, theirs)


def _by_cluster(side: pl.DataFrame) -> Floats:
    """Refused and all completions of each cluster, float[clusters, 2], clusters sorted."""
    found = (
        side.group_by("cluster_id")
        .agg((pl.col("verdict") == _REFUSED).sum().alias("refused"), pl.len().alias("all"))
        .sort("cluster_id")
    )
    result: Floats = found.select("refused", "all").to_numpy().astype(np.float64)
    return result
