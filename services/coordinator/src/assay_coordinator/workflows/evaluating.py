"""Step: evaluate one variant in every dimension, all at once, on one lease."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

from assay_coordinator.domain.canary import CanarySpec
from assay_coordinator.domain.progress import (
    ArtifactFacts,
    EngineFacts,
    EvaluationStatus,
    Progress,
)
from assay_coordinator.wire import peers as wire
from assay_coordinator.workflows.context import VariantWork
from assay_coordinator.workflows.following import ModelNeededError, follow_evaluation
from assay_coordinator.workflows.leases import LeaseKeeper, held_lease
from assay_coordinator.workflows.looking import evaluate_in_looks
from assay_coordinator.workflows.profiling import is_to_be_measured, measure, measure_alone
from assay_coordinator.workflows.turns import Resource
from assay_core.errors import AssayError, is_retryable, to_document
from assay_core.pb import evaluation_pb2
from assay_core.together import together

_PLAN_SECONDS = 120.0
_REPEATS = 3


@dataclass(frozen=True)
class Planned:
    """An evaluation that can be run, and how many completions it lacks."""

    spec: evaluation_pb2.EvaluationSpec
    status: EvaluationStatus
    missing: int


async def evaluate_variant(work: VariantWork) -> bool:
    """Evaluate a variant whose artifact exists.

    Every dimension is planned first. When all completions are stored, no engine is asked for: a
    study that was run before needs no model.

    Returns:
        Whether at least one dimension has a score. Failures are written down.
    """
    artifact = work.status.artifact
    if artifact is None:
        return False
    todo = await _unfinished(work)
    if todo:
        await work.set(state="RUNNING", phase="planning", error=None)
        try:
            await _run_all(work, artifact, todo)
        except AssayError as error:
            await work.fail(error)
            return False
    return await _conclude(work)


async def _unfinished(work: VariantWork) -> list[EvaluationStatus]:
    """Evaluations of the variant that have no score yet."""
    todo = []
    for dimension in work.run.spec.dimensions:
        status = await work.context.store.evaluation(work.run.study_id, work.key, dimension)
        if status is None:
            todo.append(EvaluationStatus(variant_key=work.key, dimension=dimension))
        elif status.state != "SUCCEEDED":
            todo.append(status.model_copy(update={"state": "QUEUED", "error": None}))
    return todo


async def _run_all(
    work: VariantWork, artifact: ArtifactFacts, todo: Sequence[EvaluationStatus]
) -> None:
    """Those that need no model at once; the others together, on one lease, in the study's turn."""
    engine = await _describe_engine(work, artifact)
    waiting = await _score_stored(work, await _plan_all(work, todo, artifact, engine))
    if not waiting and not is_to_be_measured(work):
        return
    await work.set(phase="queued for an engine", state="WAITING_FOR_MODEL")
    async with _engine_turn(work) as waited:
        work.placed.set()
        if waited and waiting:  # another study may have generated the same meanwhile
            names = {plan.status.dimension for plan in waiting}
            again = [status for status in todo if status.dimension in names]
            waiting = await _score_stored(work, await _plan_all(work, again, artifact, engine))
        if not waiting:
            await measure_alone(work, artifact)
            return
        await work.set(phase="loading", state="WAITING_FOR_MODEL")
        async with held_lease(work, artifact) as keeper:
            await keeper.lease()
            await work.set(phase="evaluating", state="RUNNING")
            await together(*(_evaluate(work, plan, keeper) for plan in waiting))
            await measure(work, keeper)


def _engine_turn(work: VariantWork) -> AbstractAsyncContextManager[bool]:
    """A place at an engine; an endpoint has engines of its own."""
    if work.planned.model.endpoint:
        return nullcontext(enter_result=False)
    return work.turn(Resource.ENGINE)


async def _plan_all(
    work: VariantWork,
    todo: Sequence[EvaluationStatus],
    artifact: ArtifactFacts,
    engine: EngineFacts,
) -> list[Planned]:
    found = await together(*(_plan(work, status, artifact, engine) for status in todo))
    return [plan for plan in found if plan is not None]


async def _score_stored(work: VariantWork, planned: Sequence[Planned]) -> list[Planned]:
    """Score what lacks no completion; what needs a model."""
    stored = [plan for plan in planned if plan.missing == 0]
    waiting = [plan for plan in planned if plan.missing > 0]
    if stored:
        await work.set(phase="scoring", state="RUNNING")
        done = await together(*(_evaluate(work, plan, None) for plan in stored))
        waiting += [plan for plan, ended in zip(stored, done, strict=True) if not ended]
    return waiting


async def _describe_engine(work: VariantWork, artifact: ArtifactFacts) -> EngineFacts:
    endpoint = work.planned.model.endpoint
    request = wire.describe_request(
        work.run.project, artifact_uri="" if endpoint else artifact.uri, endpoint=endpoint
    )
    describe = work.context.peers.serving.DescribeEngine
    engine = wire.engine(await work.call(describe, request, "serving"))
    await work.set(engine=engine)
    return engine


async def _plan(
    work: VariantWork, status: EvaluationStatus, artifact: ArtifactFacts, engine: EngineFacts
) -> Planned | None:
    """Ask the evaluator what there is to do; a dimension that cannot be planned fails alone."""
    dimension = status.dimension
    spec = wire.evaluation_spec(work.run.spec, dimension, artifact.digest, engine)
    if isinstance(work.run.spec, CanarySpec):
        # The same after a crash or a resume, another on each side and in each canary.
        spec.replay.CopyFrom(wire.replay(work.run.spec, f"{work.run.study_id}/{work.key}"))
    request = evaluation_pb2.PlanEvaluationRequest(spec=spec)
    try:
        ask = work.context.peers.evaluator(dimension).PlanEvaluation
        name = f"evaluator {dimension}"
        answer = await work.call(ask, request, name, seconds=_PLAN_SECONDS)
    except AssayError as error:
        await _failed(work, status, error)
        return None
    stored, missing = answer.completions_stored, answer.completions_missing
    first = not status.progress.total  # after a crash, what was made before it is not "reused"
    known = status.model_copy(
        update={
            "planned_rows": {part.scenario: part.samples for part in answer.scenarios},
            "completions_reused": stored if first else status.completions_reused,
            "pack_digest": answer.pack_digest,
            "progress": Progress(completed=stored, total=stored + missing, unit="completions"),
        }
    )
    await work.put_evaluation(known)
    return Planned(spec, known, missing)


async def _evaluate(work: VariantWork, plan: Planned, keeper: LeaseKeeper | None) -> bool:
    """Bring one evaluation to its end; False if it turns out to need a model and has none."""
    for repeat in range(_REPEATS):
        try:
            if work.run.spec.early_stopping is not None and not work.status.is_reference:
                await evaluate_in_looks(work, plan.spec, plan.status, keeper, repeat=repeat)
            else:
                await follow_evaluation(work, plan.spec, plan.status, keeper, repeat=repeat)
            break
        except ModelNeededError:
            return False
        except AssayError as error:
            # Its completions are kept, so another try costs what is missing.
            if not is_retryable(error) or repeat == _REPEATS - 1:
                await _failed(work, plan.status, error)
                break
    return True


async def _failed(work: VariantWork, status: EvaluationStatus, error: AssayError) -> None:
    failed = status.model_copy(update={"state": "FAILED", "error": to_document(error)})
    await work.put_evaluation(failed)
    await work.say(f"{work.key}: {status.dimension} failed: {error.text}")


async def _conclude(work: VariantWork) -> bool:
    """The variant's own state: SUCCEEDED when every dimension is scored, else FAILED."""
    found: Mapping[str, EvaluationStatus] = {
        evaluation.dimension: evaluation
        for evaluation in await work.context.store.evaluations(work.run.study_id)
        if evaluation.variant_key == work.key
    }
    failed = [evaluation for evaluation in found.values() if evaluation.state != "SUCCEEDED"]
    scored = len(found) - len(failed)
    await work.set(
        state="FAILED" if failed else "SUCCEEDED",
        phase=f"{scored} of {len(found)} dimensions scored" if failed else "scored",
        error=next((evaluation.error for evaluation in failed if evaluation.error), None),
    )
    return scored > 0
