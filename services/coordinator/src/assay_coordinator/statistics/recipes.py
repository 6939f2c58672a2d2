"""A recipe against the dense parent: all calibration seeds of it at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.domain.policy import Claim
from assay_coordinator.statistics.comparing import verdict_fields
from assay_coordinator.statistics.guard import cluster_shares, widened
from assay_coordinator.statistics.interval import Interval
from assay_coordinator.statistics.pairing import KEY, differing_between
from assay_coordinator.statistics.request import DEFAULTS, Names, Options
from assay_coordinator.statistics.resampling import Floats, paired_bootstrap
from assay_coordinator.statistics.seeds import RecipeEstimate, recipe_estimate
from assay_coordinator.statistics.tables import frame_of, strata_for, table_of, value_of
from assay_core.aggregation import Expr, Table, evaluate, restrict, scenarios_of


def compare_recipe(
    names: Names,
    formula: Expr,
    seeds: Sequence[Any],
    reference: Any,
    *,
    per_seed: Sequence[Comparison],
    options: Options = DEFAULTS,
) -> Comparison | None:
    """Compare the mean over calibration seeds with the reference, in one whole dimension.

    Args:
        names: What is compared; the key is that of the recipe, without a seed.
        formula: Score formula of the dimension, 0-100.
        seeds: Verdict shard of each seed (pyarrow tables, schema v1).
        reference: Verdict shard of the dense parent.
        per_seed: The comparison of each seed, for what is not a matter of statistics.
        options: Margin, level, replicates, seed.

    Returns:
        The comparison; None if the seeds have no common sample with the reference.
    """
    used = pl.col("scenario").is_in(scenarios_of(formula))
    frames = [frame_of(shard).filter(used) for shard in (*seeds, reference)]
    common = frames[0].select(KEY).unique()
    for frame in frames[1:]:
        common = common.join(frame.select(KEY).unique(), on=KEY, how="semi")
    frames = [frame.join(common, on=KEY, how="semi") for frame in frames]
    present = set(common["scenario"].unique().to_list())
    whole = restrict(formula, present)
    if whole is None:
        return None
    clusters = tuple(sorted(frames[-1]["cluster_id"].unique().to_list()))
    *ours, theirs = [table_of(frame, clusters) for frame in frames]
    reference_score = value_of(whole, theirs)
    scores = [value_of(whole, table) for table in ours]
    known = [score for score in scores if score is not None]
    begun = _begun(names, per_seed, options, set(scenarios_of(formula)) <= present)
    if reference_score is None or len(known) < len(scores):
        return begun.model_copy(update={"notes": (*begun.notes, "a side has no usable answer")})
    drawn = paired_bootstrap(
        lambda weights: _mean_score(whole, ours, weights) - evaluate(whole, theirs, weights),
        len(clusters),
        strata=strata_for(whole, frames[-1], clusters),
        replicates=options.replicates,
        level=options.level,
        seed=options.seed,
    )
    differences = [score - reference_score for score in known]
    found = recipe_estimate(differences, drawn.standard_error, len(clusters), options.level)
    if math.isfinite(found.standard_error):
        found = replace(found, interval=_guarded(whole, found, frames, [*ours, theirs], clusters))
    pairs = common.height
    return begun.model_copy(
        update={
            "score": float(np.mean(known)),
            "reference_score": reference_score,
            "difference": found.difference,
            "n_pairs": pairs,
            "n_clusters": len(clusters),
            "between_seed_sd": found.between_seed_sd,
            "p_value": found.p_value if math.isfinite(found.standard_error) else None,
            "test": "t of the mean over calibration seeds",
            **verdict_fields(
                found.difference, found.interval, found.standard_error, pairs, options.margin
            ),
        }
    )


def _begun(
    names: Names, per_seed: Sequence[Comparison], options: Options, complete: bool
) -> Comparison:
    """What the seeds' own comparisons say of the recipe: the worst of each."""
    broken = [c.degenerate for c in per_seed if c.degenerate]
    return Comparison(
        variant_key=names.variant_key,
        reference_key=names.reference_key,
        dimension=names.dimension,
        metric=names.metric,
        parser_version=names.parser_version,
        claim=Claim.RECIPE,
        n_seeds=len(per_seed),
        margin=options.margin,
        confidence_level=options.level,
        complete=complete and all(c.complete for c in per_seed),
        degenerate=broken[0] if broken else "",
        refusal_shift=max((c.refusal_shift for c in per_seed), key=abs, default=0.0),
        unparsable_shift=max((c.unparsable_shift for c in per_seed), default=0.0),
        notes=tuple(dict.fromkeys(note for c in per_seed for note in c.notes)),
    )


def _guarded(
    formula: Expr,
    found: RecipeEstimate,
    frames: Sequence[pl.DataFrame],
    tables: Sequence[Table],
    clusters: Sequence[str],
) -> Interval:
    """The interval, widened where hardly any cluster differs in any seed; the reference is last."""
    changed: set[str] = set()
    for frame in frames[:-1]:
        changed |= differing_between(frame, frames[-1])
    shares: Floats = np.max([cluster_shares(formula, table) for table in tables], axis=0)
    differing = np.array([name in changed for name in clusters])
    return widened(found.interval, found.difference, shares, differing, limit=100.0)


def _mean_score(formula: Expr, tables: Sequence[Table], weights: Floats) -> Floats:
    result: Floats = np.mean([evaluate(formula, table, weights) for table in tables], axis=0)
    return result
