"""Two replays of the same prompts, pair by pair: what each side did, and what changed. Pure.

Pairs in which a prompt did not fit one side's context are left out of every change: there is
nothing to compare. Clusters (a conversation's prompts) are resampled together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from assay_coordinator.domain.canary import Measure, SideFacts
from assay_coordinator.statistics.guard import widened
from assay_coordinator.statistics.interval import Interval
from assay_coordinator.statistics.intervals import Booleans, PairedCounts, tango_paired, wilson
from assay_coordinator.statistics.request import DEFAULTS, Options
from assay_coordinator.statistics.resampling import Floats, Ints, paired_bootstrap

_OVERLENGTH = "overlength"
_EQUAL = 1e-9


@dataclass(frozen=True)
class Replayed:
    """One side of a pair."""

    verdict: str
    toxicity: float | None
    completion_tokens: int
    segment: int
    arrival: float  # seconds since the segment began
    latency: float  # seconds from the arrival to the whole answer


@dataclass(frozen=True)
class Pair:
    """One prompt as both sides answered it."""

    cluster_id: str
    same: bool
    similarity: float
    variant: Replayed
    reference: Replayed


def side_facts(key: str, side: Sequence[Replayed]) -> SideFacts:
    """What one side answered, and how fast.

    Its time is that of its segments, each from its beginning to its last answer that was stored:
    what lies between a kill and the restart is nobody's latency.
    """
    counts = {name: sum(each.verdict == name for each in side) for name in
              ("answered", "refused", "unparsable", _OVERLENGTH)}  # fmt: skip
    served = [each for each in side if each.verdict != _OVERLENGTH]
    ends: dict[int, float] = {}
    for each in served:
        ends[each.segment] = max(ends.get(each.segment, 0.0), each.arrival + each.latency)
    seconds = sum(ends.values())
    tokens = sum(each.completion_tokens for each in served)
    toxicity = [each.toxicity for each in served if each.toxicity is not None]
    latency = [each.latency for each in served] or [0.0]
    p50, p95, p99 = (float(q) for q in np.percentile(latency, [50, 95, 99]))
    return SideFacts(
        key=key,
        prompts=len(side),
        **counts,
        mean_completion_tokens=tokens / len(served) if served else 0.0,
        mean_toxicity=float(np.mean(toxicity)) if toxicity else None,
        latency_p50=p50,
        latency_p95=p95,
        latency_p99=p99,
        wall_seconds=seconds,
        completions_per_second=len(served) / seconds if seconds else 0.0,
        tokens_per_second=tokens / seconds if seconds else 0.0,
        segments=len(ends),
    )


def measures(pairs: Sequence[Pair], most_tokens: int, options: Options = DEFAULTS) -> list[Measure]:
    """What changed, in the order of a report; what no pair can tell is left out.

    Args:
        pairs: Every prompt.
        most_tokens: Longest completion there can be, which bounds what one prompt can change.
        options: Level, replicates and seed of the intervals.
    """
    both = [p for p in pairs if _OVERLENGTH not in (p.variant.verdict, p.reference.verdict)]
    if not both:
        return []
    scored = [p for p in both if None not in (p.variant.toxicity, p.reference.toxicity)]
    found = [
        _agreement(both, options),
        _mean("similarity", both, [p.similarity for p in both], 1.0, options),
        _refusals(both, options),
    ]
    if scored:
        shifts = [(p.variant.toxicity or 0.0) - (p.reference.toxicity or 0.0) for p in scored]
        found.append(_mean("toxicity_shift", scored, shifts, 0.0, options))
    lengths = _column(both, lambda side: side.completion_tokens)
    if lengths[1].any():
        reach = most_tokens / float(lengths[1].mean())
        found.append(_ratio("length_shift", both, lengths, options, reach=reach))
    latencies = _column(both, lambda side: side.latency)
    if latencies[1].any():
        found.append(_ratio("latency_shift", both, latencies, options))
    # Of one cluster alone nothing says how far another would be.
    return [each for each in found if math.isfinite(each.low) and math.isfinite(each.high)]


def _agreement(pairs: Sequence[Pair], options: Options) -> Measure:
    same = np.array([p.same for p in pairs])
    if not _independent(pairs):
        return _mean("agreement", pairs, same.astype(np.float64), 1.0, options)
    interval = wilson(int(same.sum()), len(pairs), options.level)
    return _measure("agreement", float(same.mean()), interval, len(pairs))


def _refusals(pairs: Sequence[Pair], options: Options) -> Measure:
    ours: Booleans = np.array([p.variant.verdict == "refused" for p in pairs])
    theirs: Booleans = np.array([p.reference.verdict == "refused" for p in pairs])
    if not _independent(pairs):
        shifts = ours.astype(np.float64) - theirs
        return _mean("refusal_shift", pairs, shifts, 0.0, options)
    counts = PairedCounts.of(ours, theirs)
    interval = tango_paired(counts, options.level)
    return _measure("refusal_shift", counts.difference, interval, len(pairs))


def _mean(
    name: str,
    pairs: Sequence[Pair],
    values: Sequence[float] | Floats,
    unchanged: float,
    options: Options,
) -> Measure:
    """Mean of a value of each pair, which is `unchanged` where both sides are alike."""
    column = np.asarray(values, dtype=np.float64)
    index, clusters = _clusters(pairs)
    sums, sizes = np.bincount(index, column), np.bincount(index).astype(np.float64)

    def mean(weights: Floats) -> Floats:
        result: Floats = (weights @ sums) / (weights @ sizes)
        return result

    value = float(column.mean())
    drawn = _drawn(mean, clusters, options)
    changed = np.bincount(index, np.abs(column - unchanged) > _EQUAL) > 0
    interval = widened(drawn, value, sizes / sizes.sum(), changed, limit=1.0)
    if unchanged:  # a share, and no difference
        interval = replace(interval, low=max(0.0, interval.low))
    return _measure(name, value, interval, len(pairs))


def _ratio(
    name: str,
    pairs: Sequence[Pair],
    columns: tuple[Floats, Floats],
    options: Options,
    *,
    reach: float | None = None,
) -> Measure:
    """Ratio of the two means, minus 1; `reach` bounds it where few pairs differ."""
    index, clusters = _clusters(pairs)
    ours, theirs = (np.bincount(index, column) for column in columns)

    def change(weights: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            result: Floats = (weights @ ours) / (weights @ theirs) - 1
        return result

    value = float(columns[0].sum() / columns[1].sum() - 1)
    interval = _drawn(change, clusters, options)
    if reach is not None:
        sizes = np.bincount(index).astype(np.float64)
        changed = np.bincount(index, np.abs(columns[0] - columns[1]) > _EQUAL) > 0
        interval = widened(interval, value, sizes / sizes.sum(), changed, limit=reach)
    return _measure(name, value, interval, len(pairs))


def _drawn(statistic: Callable[[Floats], Floats], clusters: int, options: Options) -> Interval:
    return paired_bootstrap(
        statistic,
        clusters,
        replicates=options.replicates,
        level=options.level,
        seed=options.seed,
    ).interval


def _measure(name: str, value: float, interval: Interval, pairs: int) -> Measure:
    return Measure(
        name=name,
        value=value,
        low=interval.low,
        high=interval.high,
        level=interval.level,
        method=interval.method,
        n_pairs=pairs,
    )


def _column(pairs: Sequence[Pair], of: Callable[[Replayed], float]) -> tuple[Floats, Floats]:
    ours = np.array([of(pair.variant) for pair in pairs], dtype=np.float64)
    return ours, np.array([of(pair.reference) for pair in pairs], dtype=np.float64)


def _clusters(pairs: Sequence[Pair]) -> tuple[Ints, int]:
    names, index = np.unique([pair.cluster_id for pair in pairs], return_inverse=True)
    return index.astype(np.int64), len(names)


def _independent(pairs: Sequence[Pair]) -> bool:
    return len({pair.cluster_id for pair in pairs}) == len(pairs)
