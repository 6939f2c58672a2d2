"""A variant against its reference: from two verdict shards to comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.statistics.decision import non_inferiority
from assay_coordinator.statistics.degenerate import degenerate_reason
from assay_coordinator.statistics.formulas import direction_of, has_disparity, predictions
from assay_coordinator.statistics.interval import Interval
from assay_coordinator.statistics.intervals import few_differences_margin, newcombe_paired
from assay_coordinator.statistics.pairing import (
    Pairs,
    binary_counts,
    differing_clusters,
    pair,
    shares,
    strata_of_clusters,
)
from assay_coordinator.statistics.power import power
from assay_coordinator.statistics.request import DEFAULTS, Names, Options
from assay_coordinator.statistics.resampling import (
    Bootstrap,
    Floats,
    Ints,
    paired_bootstrap,
    permutation_p_value,
)
from assay_coordinator.statistics.significance import holm, mcnemar
from assay_core.aggregation import (
    Expr,
    Table,
    evaluate,
    restrict,
    scenarios_of,
)

BIASED_NEAR_ZERO = (
    "differences between groups are taken as absolute values and are biased upward near 0"
)

# Below this number of differing clusters the percentile interval is not trusted alone.
FEW_DIFFERING_CLUSTERS = 10


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
    pairs = pair(_frame(variant).filter(used), _frame(reference).filter(used))
    present = [name for name in scenarios_of(formula) if name in pairs.scenarios]
    absent = [name for name in scenarios_of(formula) if name not in pairs.scenarios]
    said = [*notes, *missing, *(f"{name} has no common samples" for name in absent if not missing)]
    if pairs.n_unpaired:
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
    frame = _frame(verdicts)
    present = frame["scenario"].unique().to_list()
    expr = restrict(formula, present)
    if expr is None:
        return None
    table = Table.from_arrow(verdicts)
    found = paired_bootstrap(
        lambda weights: evaluate(expr, table, weights),
        len(table.clusters),
        strata=_strata(expr, frame, table.clusters),
        replicates=options.replicates,
        level=options.level,
        seed=options.seed,
    )
    return found.interval if math.isfinite(found.interval.low) else None


def with_holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Add Holm-adjusted p-values; the family is the whole dimensions of one variant and parser."""
    families: dict[tuple[str, str], dict[str, float]] = {}
    for c in comparisons:
        if not c.scenario and c.p_value is not None:
            families.setdefault((c.variant_key, c.parser_version), {})[c.dimension] = c.p_value
    adjusted = {family: holm(p_values) for family, p_values in families.items()}
    return [
        c.model_copy(
            update={
                "p_value_holm": adjusted.get((c.variant_key, c.parser_version), {}).get(c.dimension)
            }
        )
        if not c.scenario
        else c
        for c in comparisons
    ]


def _frame(verdicts: Any) -> pl.DataFrame:
    return pl.DataFrame(verdicts)


def _table(frame: pl.DataFrame, clusters: tuple[str, ...]) -> Table:
    # The oldest level has plain string columns, which pyarrow can dictionary-encode.
    return Table.from_arrow(frame.to_arrow(compat_level=pl.CompatLevel.oldest()), clusters)


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
    left = _table(pairs.variant, clusters)
    right = _table(pairs.reference, clusters)
    score, reference_score = _value(formula, left), _value(formula, right)
    base = begun.model_copy(
        update={
            "score": score,
            "reference_score": reference_score,
            "n_pairs": pairs.n_pairs,
            "n_clusters": pairs.n_clusters,
            "n_unpaired": pairs.n_unpaired,
            **_shifts(pairs),
            "degenerate": degenerate_reason(pairs, predictions(formula)),
        }
    )
    if score is None or reference_score is None:
        return base.model_copy(update={"notes": (*base.notes, "a side has no usable answer")})
    difference = score - reference_score
    drawn = paired_bootstrap(
        lambda weights: evaluate(formula, left, weights) - evaluate(formula, right, weights),
        len(clusters),
        strata=_strata(formula, pairs.variant, clusters),
        replicates=options.replicates,
        level=options.level,
        seed=options.seed,
    )
    binary = _binary(formula, pairs, difference)
    guarded, reach = _guarded(drawn, difference, pairs, options)
    interval = binary.interval if binary and binary.interval else guarded
    if binary and binary.interval:
        p_value, test = binary.p_value, binary.test
    else:
        p_value = _permutation(formula, pairs, clusters, difference, options)
        test = f"paired cluster permutation, {options.replicates} swaps"
    added = [BIASED_NEAR_ZERO] if has_disparity(formula) else []
    return base.model_copy(
        update={
            "difference": difference,
            **_interval_fields(interval),
            "p_value": p_value,
            "test": test,
            "lost": binary.lost if binary else None,
            "gained": binary.gained if binary else None,
            "verdict": non_inferiority(interval, options.margin),
            **_power_fields(drawn, reach),
            "notes": (*base.notes, *added),
        }
    )


def _value(formula: Expr, table: Table) -> float | None:
    value = float(evaluate(formula, table)[0])
    return value if math.isfinite(value) else None


def _shifts(pairs: Pairs) -> dict[str, float]:
    ours, theirs = shares(pairs.variant), shares(pairs.reference)
    return {
        "refusal_shift": ours["refused"] - theirs["refused"],
        "unparsable_shift": ours["unparsable"] - theirs["unparsable"],
    }


def _interval_fields(interval: Interval) -> dict[str, Any]:
    known = math.isfinite(interval.low) and math.isfinite(interval.high)
    return {
        "interval_low": interval.low if known else None,
        "interval_high": interval.high if known else None,
        "interval_method": interval.method,
    }


def _guarded(
    drawn: Bootstrap, difference: float, pairs: Pairs, options: Options
) -> tuple[Interval, float]:
    """The resampled interval, widened where few clusters differ; and by how much at least."""
    differing = differing_clusters(pairs)
    if differing >= FEW_DIFFERING_CLUSTERS or pairs.n_clusters == 0:
        return drawn.interval, 0.0
    reach = 100.0 * few_differences_margin(differing, pairs.n_clusters, options.level)
    resampled = drawn.interval if math.isfinite(drawn.interval.low) else None
    low, high = difference - reach, difference + reach
    if resampled is not None:
        low, high = min(low, resampled.low), max(high, resampled.high)
    method = f"paired cluster bootstrap, widened because {differing} clusters differ"
    return Interval(max(-100.0, low), min(100.0, high), options.level, method), reach


def _power_fields(drawn: Bootstrap, reach: float) -> dict[str, Any]:
    if not math.isfinite(drawn.standard_error):
        return {}
    return {
        "standard_error": drawn.standard_error,
        "minimum_detectable_effect": max(
            power(drawn.standard_error).minimum_detectable_effect, reach
        ),
    }


@dataclass(frozen=True)
class _Binary:
    lost: int
    gained: int
    p_value: float
    test: str
    interval: Interval | None  # None where pairs share clusters or a side has no value


def _binary(formula: Expr, pairs: Pairs, difference: float) -> _Binary | None:
    """Counts, McNemar and Newcombe where the metric is binary with one completion per sample."""
    if has_disparity(formula):
        return None
    counts = binary_counts(pairs)
    if counts is None:
        return None
    direction = direction_of(formula)
    result = mcnemar(counts)
    lost, gained = counts.only_reference, counts.only_variant
    if direction < 0:
        lost, gained = gained, lost
    independent = pairs.n_clusters == pairs.n_pairs == counts.pairs
    points = 100.0 * direction
    plain = math.isclose(difference, points * counts.difference, abs_tol=1e-6)
    interval = newcombe_paired(counts).scaled(points) if independent and plain else None
    return _Binary(lost, gained, result.p_value, result.method, interval)


def _permutation(
    formula: Expr, pairs: Pairs, clusters: Sequence[str], difference: float, options: Options
) -> float:
    """Swap the labels of whole clusters on one table that holds both sides."""
    both = pl.concat([_prefixed(pairs.variant, "v:"), _prefixed(pairs.reference, "r:")])
    order = (*(f"v:{name}" for name in clusters), *(f"r:{name}" for name in clusters))
    table = _table(both, order)

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


def _strata(formula: Expr, frame: pl.DataFrame, clusters: Sequence[str]) -> Ints | None:
    return strata_of_clusters(frame, list(clusters)) if has_disparity(formula) else None
