"""A variant against its reference: from two verdict shards to comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.statistics.decision import Verdict, equivalence, non_inferiority
from assay_coordinator.statistics.degenerate import degenerate_reason
from assay_coordinator.statistics.formulas import directions, has_disparity, predictions
from assay_coordinator.statistics.guard import cluster_shares, widened
from assay_coordinator.statistics.interval import Interval
from assay_coordinator.statistics.intervals import tango_paired
from assay_coordinator.statistics.pairing import (
    Pairs,
    binary_counts,
    differing_clusters,
    pair,
    shares,
    unlike_clusters,
)
from assay_coordinator.statistics.power import power, rows_to_decide, standard_error_of
from assay_coordinator.statistics.request import DEFAULTS, Names, Options
from assay_coordinator.statistics.resampling import (
    Bootstrap,
    Floats,
    paired_bootstrap,
    permutation_p_value,
)
from assay_coordinator.statistics.sequential import sequential_interval
from assay_coordinator.statistics.shifts import flip_rate, refusal_shift
from assay_coordinator.statistics.significance import mcnemar
from assay_coordinator.statistics.tables import frame_of, strata_for, table_of, value_of
from assay_core.aggregation import Expr, evaluate, restrict, scenarios_of

BIASED_NEAR_ZERO = (
    "differences between groups are taken as absolute values and are biased upward near 0"
)

_EQUAL = 1e-9


def compare(
    names: Names,
    formula: Expr,
    variant: Any,
    reference: Any,
    options: Options = DEFAULTS,
    *,
    missing: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> list[Comparison]:
    """Compare two verdict shards (pyarrow tables, schema v1) in one dimension.

    Args:
        names: What is compared.
        formula: Score formula of the dimension, 0-100.
        variant: Verdicts of the variant.
        reference: Verdicts of the reference.
        options: Margin, level, replicates, seed.
        missing: What either side lacks; makes the comparison incomplete.
        notes: What else a reader must know.

    Returns:
        The comparison of the whole dimension first, then one per scenario.
    """
    used = pl.col("scenario").is_in(scenarios_of(formula))
    pairs = pair(frame_of(variant).filter(used), frame_of(reference).filter(used))
    present = [name for name in scenarios_of(formula) if name in pairs.scenarios]
    absent = [name for name in scenarios_of(formula) if name not in pairs.scenarios]
    said = [*notes, *missing, *(f"{name} has no common samples" for name in absent if not missing)]
    stopped = options.draw is not None and options.draw.stopped_early
    if pairs.n_unpaired and not stopped:
        said.append(f"{pairs.n_unpaired} samples exist on one side only and are left out")
    begun = _begun(names, options)
    whole = restrict(formula, present)
    if whole is None:
        notes = tuple(dict.fromkeys([*said, "no common samples"]))
        return [begun.model_copy(update={"complete": False, "notes": notes})]
    complete = not missing and not absent
    notes = tuple(dict.fromkeys(said))
    dimension = begun.model_copy(update={"complete": complete, "notes": notes})
    comparisons = [_one(dimension, whole, pairs, options)]
    if len(present) > 1:
        for name in present:
            part = restrict(formula, {name})
            if part is not None:
                scenario = begun.model_copy(update={"scenario": name})
                comparisons.append(_one(scenario, part, pairs.scenario(name), options))
    return comparisons


def score_interval(formula: Expr, verdicts: Any, options: Options = DEFAULTS) -> Interval | None:
    """Interval of one score alone, by resampling clusters; None if nothing can be scored."""
    frame = frame_of(verdicts).filter(pl.col("scenario").is_in(scenarios_of(formula)))
    expr = restrict(formula, frame["scenario"].unique().to_list())
    if expr is None:
        return None
    clusters = tuple(sorted(frame["cluster_id"].unique().to_list()))
    table = table_of(frame, clusters)
    score = value_of(expr, table)
    found = paired_bootstrap(
        lambda weights: evaluate(expr, table, weights),
        len(clusters),
        strata=strata_for(expr, frame, clusters),
        replicates=options.replicates,
        level=options.level,
        seed=options.seed,
    )
    if score is None or not math.isfinite(found.interval.low):
        return None
    unlike = unlike_clusters(frame)
    differing = np.array([name in unlike for name in clusters])
    shares = cluster_shares(expr, table)
    interval = widened(found.interval, score, shares, differing, limit=100.0)
    return replace(interval, low=max(0.0, interval.low))


def _begun(names: Names, options: Options) -> Comparison:
    return Comparison(
        variant_key=names.variant_key,
        reference_key=names.reference_key,
        dimension=names.dimension,
        metric=names.metric,
        parser_version=names.parser_version,
        margin=options.margin,
        confidence_level=options.level,
    )


def _one(begun: Comparison, formula: Expr, pairs: Pairs, options: Options) -> Comparison:
    """One comparison of a formula on its pairs; `begun` says what is compared."""
    clusters = tuple(sorted(pairs.variant["cluster_id"].unique().to_list()))
    left = table_of(pairs.variant, clusters)
    right = table_of(pairs.reference, clusters)
    score, reference_score = value_of(formula, left), value_of(formula, right)
    base = begun.model_copy(
        update={
            "score": score,
            "reference_score": reference_score,
            "n_pairs": pairs.n_pairs,
            "n_clusters": pairs.n_clusters,
            "n_unpaired": pairs.n_unpaired,
            **_shifts(pairs, options),
            "degenerate": degenerate_reason(pairs, predictions(formula)),
        }
    )
    if score is None or reference_score is None:
        return base.model_copy(update={"notes": (*base.notes, "a side has no usable answer")})
    difference = score - reference_score
    drawn = paired_bootstrap(
        lambda weights: evaluate(formula, left, weights) - evaluate(formula, right, weights),
        len(clusters),
        strata=strata_for(formula, pairs.variant, clusters),
        replicates=options.replicates,
        level=options.level,
        seed=options.seed,
    )
    if options.draw is not None:
        sequence = sequential_interval(formula, pairs, options.draw, options.level)
        if sequence is not None:
            fields = _sequential_fields(sequence, difference, drawn, pairs, options)
            notes = (*base.notes, *fields.pop("notes", ()))
            return base.model_copy(update={**fields, "notes": notes})
    shares = np.maximum(cluster_shares(formula, left), cluster_shares(formula, right))
    binary = _binary(formula, pairs, shares, difference, options.level)
    if binary and binary.interval:
        interval, p_value, test = binary.interval, binary.p_value, binary.test
    else:
        changed = differing_clusters(pairs)
        differing = np.array([name in changed for name in clusters])
        interval = widened(drawn.interval, difference, shares, differing, limit=100.0)
        p_value = _permutation(formula, pairs, clusters, difference, options)
        test = f"paired cluster permutation, {options.replicates} swaps"
    added = [BIASED_NEAR_ZERO] if has_disparity(formula) else []
    return base.model_copy(
        update={
            "difference": difference,
            "p_value": p_value,
            "test": test,
            "lost": binary.lost if binary else None,
            "gained": binary.gained if binary else None,
            **verdict_fields(
                difference, interval, drawn.standard_error, pairs.n_pairs, options.margin
            ),
            "notes": (*base.notes, *added),
        }
    )


def _sequential_fields(
    sequence: Interval, difference: float, drawn: Bootstrap, pairs: Pairs, options: Options
) -> dict[str, Any]:
    """The one interval that holds although looks were taken; no fixed-n test stands beside it."""
    fields: dict[str, Any] = {
        "difference": difference,
        **verdict_fields(difference, sequence, drawn.standard_error, pairs.n_pairs, options.margin),
    }
    draw = options.draw
    if draw is None:
        return fields
    notes = ["the interval is about the rows of this pack: it has no width once all were seen"]
    if draw.stopped_early:
        planned = sum(draw.population.values())
        seen = sum(len(samples) for samples in draw.order.values())
        notes.append(
            f"stopped early: {seen} of {planned} rows were enough to decide, {planned - seen} were "
            "saved; the estimate is that of a stopped run"
        )
    return {**fields, "notes": tuple(notes)}


def _shifts(pairs: Pairs, options: Options) -> dict[str, Any]:
    ours, theirs = shares(pairs.variant), shares(pairs.reference)
    refusals = refusal_shift(pairs, options)
    fields: dict[str, Any] = {
        "unparsable_shift": ours["unparsable"] - theirs["unparsable"],
        "flip_rate": flip_rate(pairs),
    }
    if refusals is not None:
        known = math.isfinite(refusals.interval.low)
        fields |= {
            "refusal_shift": refusals.shift,
            "refusal_shift_low": refusals.interval.low if known else None,
            "refusal_shift_high": refusals.interval.high if known else None,
            "refusal_p_value": refusals.p_value,
        }
    return fields


def verdict_fields(
    difference: float, interval: Interval, standard_error: float, rows: int, margin: float
) -> dict[str, Any]:
    """What an interval says: verdicts, the smallest effect to be seen, the rows to a decision."""
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return {"interval_method": interval.method, "verdict": Verdict.INCONCLUSIVE}
    verdict = non_inferiority(interval, margin)
    error = standard_error_of(difference, interval)
    needed = None
    if verdict is Verdict.INCONCLUSIVE:
        needed = rows_to_decide(rows, difference, interval, margin)
    return {
        "interval_low": interval.low,
        "interval_high": interval.high,
        "interval_method": interval.method,
        "verdict": verdict,
        "equivalence": equivalence(interval, margin),
        "standard_error": standard_error,
        "minimum_detectable_effect": power(error, interval.level).minimum_detectable_effect,
        "rows_needed": needed,
    }


@dataclass(frozen=True)
class _Binary:
    lost: int
    gained: int
    p_value: float
    test: str
    interval: Interval | None  # None where pairs share clusters or a side has no value


def _binary(
    formula: Expr, pairs: Pairs, shares: Floats, difference: float, level: float
) -> _Binary | None:
    """Counts, McNemar and Tango where the metric is binary with one completion per sample."""
    counts = binary_counts(pairs, directions(formula))
    if counts is None:
        return None
    result = mcnemar(counts)
    independent = pairs.n_clusters == pairs.n_pairs == counts.pairs
    # Each pair has the same part in the score: it is the plain share of good answers.
    plain = bool(np.ptp(shares) < _EQUAL) and math.isclose(
        difference, 100.0 * counts.difference, abs_tol=1e-6
    )
    interval = tango_paired(counts, level).scaled(100.0) if independent and plain else None
    return _Binary(
        counts.only_reference, counts.only_variant, result.p_value, result.method, interval
    )


def _permutation(
    formula: Expr, pairs: Pairs, clusters: Sequence[str], difference: float, options: Options
) -> float:
    """Swap the labels of whole clusters on one table that holds both sides."""
    both = pl.concat([_prefixed(pairs.variant, "v:"), _prefixed(pairs.reference, "r:")])
    order = (*(f"v:{name}" for name in clusters), *(f"r:{name}" for name in clusters))
    table = table_of(both, order)

    def swapped(swaps: Floats) -> Floats:
        variant = np.concatenate([1 - swaps, swaps], axis=1)
        return evaluate(formula, table, variant) - evaluate(formula, table, 1 - variant)

    return permutation_p_value(
        swapped, len(clusters), difference, replicates=options.replicates, seed=options.seed
    )


def _prefixed(side: pl.DataFrame, prefix: str) -> pl.DataFrame:
    return side.with_columns(
        pl.concat_str([pl.lit(prefix), pl.col(name)]).alias(name)
        for name in ("sample_id", "cluster_id")
    )
