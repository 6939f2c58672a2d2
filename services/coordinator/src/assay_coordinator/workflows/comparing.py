"""Step: compare an evaluated variant with its reference, from the verdict shards alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from assay_coordinator import statistics
from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.domain.extension import level_after
from assay_coordinator.domain.policy import GatePolicy
from assay_coordinator.domain.progress import (
    EngineFacts,
    EvaluationStatus,
    ScoreFacts,
    VariantStatus,
)
from assay_coordinator.peers import patiently
from assay_coordinator.statistics.decision import Verdict
from assay_coordinator.statistics.interval import Interval
from assay_coordinator.statistics.request import SEQUENTIAL, Draw, Names, Options
from assay_coordinator.store import StudyRecord
from assay_coordinator.workflows.context import Context, Run
from assay_coordinator.workflows.patience import database_is_away
from assay_core import verdicts
from assay_core.aggregation import parse_expr
from assay_core.digest import seed_of, sha256_bytes
from assay_core.errors import AssayError, DataLoss, FailedPrecondition, NotFound
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
        sides = None
        if not variant.is_reference and theirs is not None and theirs.state == "SUCCEEDED":
            sides = _Side(variant, ours), _Side(reference, theirs)
        try:
            # Shards lie in an object store, which may be away for a while as any peer may.
            found = await patiently(
                partial(_intervals_and_comparisons, context, run, ours, sides),
                seconds=context.settings.peer_patience_seconds,
                what="object store",
            )
        except AssayError as error:
            if database_is_away(error):
                raise
            text = f"{key}: {dimension} could not be compared: {error.text}"
            await context.store.add_event(run.study_id, text)
        else:
            await context.store.put_comparisons(run.study_id, found)
            made += len(found)
    return made


async def _intervals_and_comparisons(
    context: Context, run: Run, evaluation: EvaluationStatus, sides: tuple[_Side, _Side] | None
) -> list[Comparison]:
    await _add_intervals(context, run, evaluation)
    return await _compare(context, terms_of(run), *sides) if sides else []


async def at_a_look(
    context: Context, run: Run, variant: VariantStatus, evaluation: EvaluationStatus
) -> Verdict | None:
    """What the rows so far say of a whole dimension; None where early stopping does not apply."""
    store = context.store
    reference = await store.variant(run.study_id, variant.reference_key)
    theirs = await store.evaluation(run.study_id, variant.reference_key, evaluation.dimension)
    if reference is None or theirs is None or theirs.state != "SUCCEEDED":
        return None
    ours = _Side(variant, evaluation)
    found = await _compare(context, terms_of(run), ours, _Side(reference, theirs))
    whole = [c for c in found if not c.scenario and c.parser_version == run.spec.main_parser]
    sequential = whole and whole[0].interval_method == SEQUENTIAL
    return whole[0].verdict if sequential else None


async def _add_intervals(context: Context, run: Run, evaluation: EvaluationStatus) -> None:
    """Interval of each score alone, for tables and plots."""
    scores = []
    for score in evaluation.scores:
        if score.interval is None and score.verdicts_uri and score.formula:
            options = options_for(context, Terms(), evaluation.dimension, [score])
            interval = await asyncio.to_thread(_interval, context.data, score, options)
            scores.append(score.model_copy(update={"interval": interval}))
        else:
            scores.append(score)
    changed = evaluation.model_copy(update={"scores": tuple(scores)})
    if changed != evaluation:
        await context.store.put_evaluation(run.study_id, changed)


@dataclass(frozen=True)
class Terms:
    """What an interval has to hold: margins of a gate, and at which look it is taken."""

    gate: GatePolicy | None = None
    doublings: int = 0  # of the first look's rows

    @property
    def notes(self) -> Sequence[str]:
        """What a reader of a later look has to know."""
        if not self.doublings:
            return ()
        level = 100 * level_after(self.doublings)
        return (
            f"rows were added after a look: the interval is at {level:.4g} %, which holds over "
            "all looks; the p-value is of this look alone",
        )


def terms_of(study: Run | StudyRecord) -> Terms:
    """The terms of a study's own comparisons."""
    extension = study.extension if isinstance(study, Run) else study.status.extension
    return Terms(study.spec.gate, extension.doublings if extension else 0)


@dataclass(frozen=True)
class _Side:
    """A variant with its evaluation in one dimension."""

    variant: VariantStatus
    evaluation: EvaluationStatus


async def compare_named(
    context: Context, terms: Terms, variant: tuple[str, str], reference: tuple[str, str]
) -> list[Comparison]:
    """Compare any two evaluated variants, each given by study and key, on given terms.

    Raises:
        NotFound: If a study has no such variant.
        FailedPrecondition: If no dimension is evaluated on both sides by one parser.
    """
    ours, theirs = await _sides(context, *variant), await _sides(context, *reference)
    found: list[Comparison] = []
    for dimension, side in ours.items():
        if dimension in theirs:
            found += await _compare(context, terms, side, theirs[dimension])
    if not found:
        raise FailedPrecondition(
            "no dimension is evaluated on both sides by the same parser",
            reason="NOTHING_TO_COMPARE",
            remedy="choose variants of studies with a dimension, a pack and a parser in common",
        )
    return list(await asyncio.to_thread(statistics.corrected, found))


async def _sides(context: Context, study_id: str, key: str) -> dict[str, _Side]:
    """A variant's evaluations that have scores, by dimension."""
    variant = await context.store.variant(study_id, key)
    if variant is None:
        known = ", ".join(v.key for v in await context.store.variants(study_id))
        raise NotFound(
            f"study {study_id} has no variant {key}",
            field="variant_key",
            remedy=f"its variants are {known}" if known else "it has no variant yet",
            resource=f"study/{study_id}",
        )
    return {
        evaluation.dimension: _Side(variant, evaluation)
        for evaluation in await context.store.evaluations(study_id)
        if evaluation.variant_key == key and evaluation.state == "SUCCEEDED"
    }


async def _compare(context: Context, terms: Terms, ours: _Side, theirs: _Side) -> list[Comparison]:
    found: list[Comparison] = []
    draw = await asyncio.to_thread(_draw, context.data, ours.evaluation)
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
            replace(options_for(context, terms, dimension, (score, other)), draw=draw),
            (
                *confounders(ours.variant.engine, theirs.variant.engine),
                *_packs(ours, theirs),
                *terms.notes,
            ),
        )
    return found


def _draw(data: ObjectStore, evaluation: EvaluationStatus) -> Draw | None:
    """The order in which rows came, look by look; None if they came all at once. Blocks.

    Inside a look rows come in the order of a digest of their id, which nothing else depends on.
    """
    if not evaluation.looks:
        return None
    shards = [(look.verdicts_uri, look.verdicts_digest) for look in evaluation.looks]
    shards += [(score.verdicts_uri, score.verdicts_digest) for score in evaluation.scores[:1]]
    order: dict[str, dict[str, None]] = {}
    for uri, digest in dict.fromkeys(shards):
        table = _checked(data, uri, digest)
        names = set(zip(table["scenario"].to_pylist(), table["sample_id"].to_pylist(), strict=True))
        for scenario, sample in sorted(names, key=lambda name: sha256_bytes(repr(name).encode())):
            order.setdefault(scenario, {}).setdefault(sample)
    return Draw(
        order={scenario: tuple(samples) for scenario, samples in order.items()},
        population=evaluation.planned_rows,
        stopped_early=evaluation.stopped_early,
    )


def _packs(ours: _Side, theirs: _Side) -> Sequence[str]:
    """Two packs may share rows that differ in their text."""
    left, right = ours.evaluation.pack_digest, theirs.evaluation.pack_digest
    return () if left == right else (f"confounded: data pack {left}, of the reference {right}",)


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


def options_for(
    context: Context,
    terms: Terms,
    dimension: str,
    scores: Sequence[ScoreFacts],
) -> Options:
    """Margin of the dimension, and a seed that is a function of the data: a rerun is equal."""
    return Options(
        margin=(terms.gate or GatePolicy()).margin_of(dimension),
        level=level_after(terms.doublings),
        # As many draws beyond the interval's ends at every level.
        replicates=context.settings.bootstrap_replicates << terms.doublings,
        seed=seed_of([*(score.verdicts_digest for score in scores), dimension]),
    )


def read_verdicts(data: ObjectStore, score: ScoreFacts) -> Any:
    """Read a verdict shard and check it against its digest. Blocks.

    Raises:
        DataLoss: If the bytes are not those that were scored.
    """
    return _checked(data, score.verdicts_uri, score.verdicts_digest)


def _checked(data: ObjectStore, uri: str, digest: str) -> Any:
    content = data.read_bytes(uri)
    if digest and sha256_bytes(content) != digest:
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
