"""Step: evaluate one variant in every dimension, all at once, on one lease."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from assay_coordinator.domain.progress import (
    ArtifactFacts,
    EngineFacts,
    EvaluationStatus,
    Progress,
)
from assay_coordinator.wire import peers as wire
from assay_coordinator.workflows.context import Context, Reporter, Run
from assay_coordinator.workflows.following import ModelNeeded, follow_evaluation
from assay_coordinator.workflows.leases import LeaseKeeper, held_lease
from assay_core.client import call
from assay_core.errors import AssayError, to_document
from assay_core.pb import evaluation_pb2, serving_pb2


async def evaluate_variant(context: Context, run: Run, reporter: Reporter) -> bool:
    """Evaluate a variant whose artifact exists.

    Every dimension is planned first. When all completions are stored, no engine is asked for: a
    study that was run before needs no model.

    Returns:
        Whether at least one dimension has a score. Failures are written down.
    """
    artifact = reporter.variant.artifact
    if artifact is None:
        return False
    todo = await _unfinished(context, run, reporter.variant.key)
    if todo:
        await reporter.set(state="RUNNING", phase="planning", error=None)
        try:
            engine = await _describe_engine(context, artifact, reporter)
            specs = {
                status.dimension: wire.evaluation_spec(
                    run.spec, status.dimension, artifact.digest, engine
                )
                for status in todo
            }
            planned = await _plan_all(context, run, specs, todo, reporter)
            await _run_all(context, run, artifact, specs, planned, reporter)
        except AssayError as error:
            await reporter.fail(error)
            return False
    return await _conclude(context, run, reporter)


async def _unfinished(context: Context, run: Run, key: str) -> list[EvaluationStatus]:
    """Evaluations of the variant that have no score yet; new ones are begun."""
    todo = []
    for dimension in run.spec.dimensions:
        status = await context.store.evaluation(run.study_id, key, dimension)
        if status is None or status.state != "SUCCEEDED":
            todo.append(EvaluationStatus(variant_key=key, dimension=dimension))
    return todo


async def _describe_engine(
    context: Context, artifact: ArtifactFacts, reporter: Reporter
) -> EngineFacts:
    request = serving_pb2.DescribeEngineRequest(artifact_uri=artifact.uri)

    async def describe() -> serving_pb2.DescribeEngineResponse:
        return await call(context.peers.serving.DescribeEngine, request)

    engine = wire.engine(await reporter.patiently(describe, "serving"))
    await reporter.set(engine=engine)
    return engine


async def _plan_all(
    context: Context,
    run: Run,
    specs: Mapping[str, evaluation_pb2.EvaluationSpec],
    todo: Sequence[EvaluationStatus],
    reporter: Reporter,
) -> dict[str, tuple[EvaluationStatus, int]]:
    """Status and missing completions by dimension; dimensions that cannot be planned fail alone."""

    async def plan(status: EvaluationStatus) -> tuple[EvaluationStatus, int] | None:
        request = evaluation_pb2.PlanEvaluationRequest(spec=specs[status.dimension])

        async def ask() -> evaluation_pb2.PlanEvaluationResponse:
            evaluator = context.peers.evaluator(status.dimension)
            return await call(evaluator.PlanEvaluation, request, timeout=120)

        try:
            answer = await reporter.patiently(ask, f"evaluator {status.dimension}")
        except AssayError as error:
            await _failed(status, error, reporter)
            return None
        stored, missing = answer.completions_stored, answer.completions_missing
        known = status.model_copy(
            update={
                "completions_reused": stored,
                "pack_digest": answer.pack_digest,
                "progress": Progress(completed=stored, total=stored + missing, unit="completions"),
            }
        )
        await reporter.evaluation(known)
        return known, missing

    plans = await asyncio.gather(*(plan(status) for status in todo))
    return {found[0].dimension: found for found in plans if found is not None}


async def _run_all(
    context: Context,
    run: Run,
    artifact: ArtifactFacts,
    specs: Mapping[str, evaluation_pb2.EvaluationSpec],
    planned: Mapping[str, tuple[EvaluationStatus, int]],
    reporter: Reporter,
) -> None:
    """Those that need no model at once; the others together, on one lease."""
    stored = [status for status, missing in planned.values() if missing == 0]
    waiting = [status for status, missing in planned.values() if missing > 0]
    if stored:
        await reporter.set(phase="scoring")
        found = await asyncio.gather(
            *(_evaluate(context, run, specs[s.dimension], s, reporter, None) for s in stored)
        )
        waiting += [status for status, done in zip(stored, found, strict=True) if not done]
    if not waiting:
        return
    await reporter.set(phase="loading", state="WAITING_FOR_MODEL")
    async with held_lease(context, run, artifact, reporter) as keeper:
        await keeper.lease()
        await reporter.set(phase="evaluating", state="RUNNING")
        await asyncio.gather(
            *(_evaluate(context, run, specs[s.dimension], s, reporter, keeper) for s in waiting)
        )


async def _evaluate(
    context: Context,
    run: Run,
    spec: evaluation_pb2.EvaluationSpec,
    status: EvaluationStatus,
    reporter: Reporter,
    keeper: LeaseKeeper | None,
) -> bool:
    """Bring one evaluation to its end; False if it turns out to need a model and has none."""
    try:
        await follow_evaluation(context, run, spec, status, reporter, keeper)
    except ModelNeeded:
        return False
    except AssayError as error:
        await _failed(status, error, reporter)
    return True


async def _failed(status: EvaluationStatus, error: AssayError, reporter: Reporter) -> None:
    failed = status.model_copy(update={"state": "FAILED", "error": to_document(error)})
    await reporter.evaluation(failed)
    await reporter.say(f"{status.variant_key}: {status.dimension} failed: {error.text}")


async def _conclude(context: Context, run: Run, reporter: Reporter) -> bool:
    """The variant's own state: SUCCEEDED when every dimension is, FAILED when none is."""
    key = reporter.variant.key
    mine = [e for e in await context.store.evaluations(run.study_id) if e.variant_key == key]
    scored = [evaluation for evaluation in mine if evaluation.state == "SUCCEEDED"]
    failed = [evaluation for evaluation in mine if evaluation.state != "SUCCEEDED"]
    first_error = next((e.error for e in failed if e.error), None)
    await reporter.set(
        state="FAILED" if failed else "SUCCEEDED",
        phase=f"{len(scored)} of {len(mine)} dimensions scored" if failed else "scored",
        error=first_error,
    )
    return bool(scored)
