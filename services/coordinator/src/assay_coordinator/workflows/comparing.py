"""Step: compare an evaluated variant with its reference, from the verdict shards alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from assay_coordinator import statistics
from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.domain.policy import GatePolicy
from assay_coordinator.domain.progress import (
    EngineFacts,
    EvaluationStatus,
    ScoreFacts,
    VariantStatus,
)
from assay_coordinator.statistics.interval import Interval
from assay_coordinator.statistics.request import Names, Options
from assay_coordinator.workflows.context import Context, Run
from assay_core import verdicts
from assay_core.aggregation import parse_expr
from assay_core.digest import digest_of, sha256_bytes
from assay_core.errors import AssayError, DataLoss, FailedPrecondition
from assay_core.storage import ObjectStore


async def compare_variant(context: Context, run: Run, key: str) -> int:
    """Add intervals to the variant's scores, and compare it with its reference.

    Returns:
        Number of comparisons. A dimension that cannot be compared is left out and said.
    """
    variants = {variant.key: variant for variant in await context.store.variants(run.study_id)}
    variant = variants[key]
    reference = variants[variant.reference_key]
    evaluations = {
        (evaluation.variant_key, evaluation.dimension): evaluation
        for evaluation in await context.store.evaluations(run.study_id)
    }
    made = 0
    for dimension in run.spec.dimensions:
        ours = evaluations.get((key, dimension))
        theirs = evaluations.get((reference.key, dimension))
        if ours is None or ours.state != "SUCCEEDED":
            continue
        try:
            await _add_intervals(context, run, ours)
            if not variant.is_reference and theirs is not None and theirs.state == "SUCCEEDED":
                found = await _compare(context, run, _Side(variant, ours), _Side(reference, theirs))
                await context.store.put_comparisons(run.study_id, found)
                made += len(found)
        except AssayError as error:
            text = f"{key}: {dimension} could not be compared: {error.text}"
            await context.store.add_event(run.study_id, text)
    return made


async def compare_recipes(context: Context, run: Run) -> list[Comparison]:
    """Compare every recipe that has several calibration seeds with the dense parent.

    Returns:
        One comparison per recipe, dimension and parser version; stored as well.
    """
    seeds: dict[str, list[VariantStatus]] = {}
    for variant in await context.store.variants(run.study_id):
        if not variant.is_reference:
            seeds.setdefault(variant.recipe_key, []).append(variant)
    evaluations = {
        (evaluation.variant_key, evaluation.dimension): evaluation
        for evaluation in await context.store.evaluations(run.study_id)
    }
    per_seed = await context.store.comparisons(run.study_id)
    found: list[Comparison] = []
    for key, variants in seeds.items():
        if len(variants) < 2:
            continue
        for dimension in run.spec.dimensions:
            for parser in run.spec.parser_versions:
                mine = [
                    c
                    for c in per_seed
                    if c.variant_key in {v.key for v in variants}
                    and (c.dimension, c.scenario, c.parser_version) == (dimension, "", parser)
                ]
                scores = [
                    evaluation.score(parser)
                    for each in (*(c.variant_key for c in mine), variants[0].reference_key)
                    if (evaluation := evaluations.get((each, dimension))) is not None
                ]
                known = [score for score in scores if score is not None]
                if len(mine) < 2 or len(known) != len(mine) + 1:
                    continue
                names = Names(key, variants[0].reference_key, dimension, known[-1].metric, parser)
                options = _options(context, run.spec.gate, dimension, known)
                made = await asyncio.to_thread(
                    _recipe_comparison, context.data, names, known, mine, options
                )
                if made is not None:
                    found.append(made)
    await context.store.put_comparisons(run.study_id, found)
    return found


def _recipe_comparison(
    data: ObjectStore,
    names: Names,
    scores: Sequence[ScoreFacts],
    per_seed: Sequence[Comparison],
    options: Options,
) -> Comparison | None:
    """Reads the verdicts of all seeds and, last, of the reference. Blocks."""
    *seeds, reference = [read_verdicts(data, score) for score in scores]
    formula = parse_expr(scores[-1].formula)
    return statistics.compare_recipe(
        names, formula, seeds, reference, per_seed=per_seed, options=options
    )


async def _add_intervals(context: Context, run: Run, evaluation: EvaluationStatus) -> None:
    """Interval of each score alone, for tables and plots."""
    scores = []
    for score in evaluation.scores:
        if score.interval is None and score.verdicts_uri and score.formula:
            options = _options(context, None, evaluation.dimension, [score])
            interval = await asyncio.to_thread(_interval, context.data, score, options)
            scores.append(score.model_copy(update={"interval": interval}))
        else:
            scores.append(score)
    changed = evaluation.model_copy(update={"scores": tuple(scores)})
    if changed != evaluation:
        await context.store.put_evaluation(run.study_id, changed)


@dataclass(frozen=True)
class _Side:
    """A variant with its evaluation in one dimension."""

    variant: VariantStatus
    evaluation: EvaluationStatus


async def _compare(context: Context, run: Run, ours: _Side, theirs: _Side) -> list[Comparison]:
    found: list[Comparison] = []
    for score in ours.evaluation.scores:
        other = theirs.evaluation.score(score.parser_version)
        # A dimension's default metric comes first; its further metrics are shown, not compared.
        further = score is not ours.evaluation.score(score.parser_version)
        if other is None or further:
            continue
        _same_metric(score, other)
        dimension = ours.evaluation.dimension
        found += await asyncio.to_thread(
            _comparisons,
            context.data,
            Names(
                ours.variant.key,
                theirs.variant.key,
                dimension,
                score.metric,
                score.parser_version,
            ),
            (score, other),
            _options(context, run.spec.gate, dimension, (score, other)),
            confounders(ours.variant.engine, theirs.variant.engine),
        )
    return found


def _interval(data: ObjectStore, score: ScoreFacts, options: Options) -> Interval | None:
    verdict_table = read_verdicts(data, score)
    return statistics.score_interval(parse_expr(score.formula), verdict_table, options)


def _comparisons(
    data: ObjectStore,
    names: Names,
    scores: tuple[ScoreFacts, ScoreFacts],
    options: Options,
    notes: Sequence[str],
) -> list[Comparison]:
    score, other = scores
    return statistics.compare(
        names,
        parse_expr(score.formula),
        read_verdicts(data, score),
        read_verdicts(data, other),
        options,
        missing=tuple(dict.fromkeys((*score.missing, *other.missing))),
        notes=notes,
    )


def _same_metric(score: ScoreFacts, other: ScoreFacts) -> None:
    """Two scores are comparable only if one formula made both."""
    if score.metric != other.metric or score.formula != other.formula:
        raise FailedPrecondition(
            f"the variant was scored by {score.metric} and its reference by {other.metric}, "
            "with different formulas",
            reason="DIFFERENT_METRICS",
            remedy="evaluate both with the same version of the evaluator",
        )


def _options(
    context: Context,
    gate: GatePolicy | None,
    dimension: str,
    scores: Sequence[ScoreFacts],
) -> Options:
    """Margin of the dimension, and a seed that is a function of the data: a rerun is equal."""
    seed = digest_of([*(score.verdicts_digest for score in scores), dimension])
    return Options(
        margin=(gate or GatePolicy()).margin_of(dimension),
        replicates=context.settings.bootstrap_replicates,
        seed=int(seed.removeprefix("sha256:")[:12], 16),
    )


def read_verdicts(data: ObjectStore, score: ScoreFacts) -> Any:
    """Read a verdict shard and check it against its digest. Blocks.

    Raises:
        DataLoss: If the bytes are not those that were scored.
    """
    content = data.read_bytes(score.verdicts_uri)
    if score.verdicts_digest and sha256_bytes(content) != score.verdicts_digest:
        raise DataLoss(
            "the verdict shard does not match its digest",
            reason="VERDICTS_DAMAGED",
            remedy="score the evaluation again (Rescore); its generations are kept",
        )
    return verdicts.from_bytes(content)


def confounders(ours: EngineFacts | None, theirs: EngineFacts | None) -> Sequence[str]:
    """What else differs between the two sides than the weights."""
    if ours is None or theirs is None:
        return ()
    left, right = ours.model_dump(), theirs.model_dump()
    return tuple(
        f"confounded: {name} is {left[name] or 'none'}, of the reference {right[name] or 'none'}"
        for name in left
        if left[name] != right[name]
    )
