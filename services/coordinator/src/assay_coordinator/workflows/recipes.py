"""Step: compare every recipe that has several calibration seeds with the dense parent."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from assay_coordinator import statistics
from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.domain.progress import ScoreFacts, VariantStatus
from assay_coordinator.statistics.request import Names, Options
from assay_coordinator.workflows.comparing import options_for, read_verdicts, terms_of
from assay_coordinator.workflows.context import Context, Run
from assay_core.aggregation import parse_expr
from assay_core.storage import ObjectStore


@dataclass(frozen=True)
class _Cell:
    """A recipe in one dimension by one parser version: its seeds and the reference."""

    names: Names
    per_seed: tuple[Comparison, ...]
    scores: tuple[ScoreFacts, ...]  # in the order of `per_seed`
    reference: ScoreFacts


async def compare_recipes(context: Context, run: Run) -> list[Comparison]:
    """Compare recipes by the mean over their seeds.

    Returns:
        One comparison per recipe, dimension and parser version; stored as well.
    """
    found: list[Comparison] = []
    for cell in await _cells(context, run):
        scores = (*cell.scores, cell.reference)
        options = options_for(context, terms_of(run), cell.names.dimension, scores)
        made = await asyncio.to_thread(_compare, context.data, cell, options)
        if made is not None:
            found.append(made)
    await context.store.put_comparisons(run.study_id, found)
    return found


async def _cells(context: Context, run: Run) -> list[_Cell]:
    """What has at least two seeds that were compared."""
    store = context.store
    recipes: dict[str, list[VariantStatus]] = {}
    for variant in await store.variants(run.study_id):
        if not variant.is_reference:
            recipes.setdefault(variant.recipe_key, []).append(variant)
    scores = {
        (evaluation.variant_key, evaluation.dimension, score.parser_version): score
        for evaluation in reversed(await store.evaluations(run.study_id))
        for score in reversed(evaluation.scores)
    }
    compared = {
        (c.variant_key, c.dimension, c.parser_version): c
        for c in await store.comparisons(run.study_id)
        if not c.scenario
    }
    cells = []
    for (key, variants), dimension, parser in itertools.product(
        recipes.items(), run.spec.dimensions, run.spec.parser_versions
    ):
        places = [(variant.key, dimension, parser) for variant in variants]
        known = [place for place in places if place in compared and place in scores]
        reference = scores.get((variants[0].reference_key, dimension, parser))
        if len(known) < 2 or reference is None:
            continue
        names = Names(key, variants[0].reference_key, dimension, reference.metric, parser)
        per_seed = tuple(compared[place] for place in known)
        cells.append(_Cell(names, per_seed, tuple(scores[place] for place in known), reference))
    return cells


def _compare(data: ObjectStore, cell: _Cell, options: Options) -> Comparison | None:
    """Reads the verdicts of all seeds and of the reference. Blocks."""
    seeds: Sequence[object] = [read_verdicts(data, score) for score in cell.scores]
    return statistics.compare_recipe(
        cell.names,
        parse_expr(cell.reference.formula),
        seeds,
        read_verdicts(data, cell.reference),
        per_seed=cell.per_seed,
        options=options,
    )
