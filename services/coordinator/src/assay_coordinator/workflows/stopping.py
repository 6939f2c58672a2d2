"""Step: end the work of a study in its peers, for a cancel or a pause."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from assay_coordinator.domain.progress import Job
from assay_coordinator.workflows.context import Context
from assay_coordinator.workflows.leases import release_lease
from assay_core.client import call
from assay_core.errors import AssayError, FailedPrecondition, NotFound
from assay_core.logs import get_logger
from assay_core.pb import compression_pb2, evaluation_pb2

_LOG = get_logger("assay.coordinator.stopping")
_SECONDS = 5.0
_OPEN = {"QUEUED", "RUNNING", "WAITING_FOR_MODEL"}


async def end_children(context: Context, study_id: str) -> None:
    """Cancel evaluations and compression jobs, then release leases and turns.

    Evaluations go first, so that none of them asks for a model again. A peer that is away is not
    waited for: its job is cancelled when the study is resumed or deleted, or ends by itself.
    """
    jobs = await context.store.jobs(study_id)
    others = [job for job in jobs if job.kind != "lease"]
    await asyncio.gather(*(_cancel(context, study_id, job) for job in others))
    leases = [job for job in jobs if job.kind == "lease"]
    await asyncio.gather(*(release_lease(context, study_id, job) for job in leases))
    await context.turns.give_back_all(study_id)


async def mark_stopped(context: Context, study_id: str, state: str) -> None:
    """Show what was under way as stopped."""
    for evaluation in await context.store.evaluations(study_id):
        if evaluation.state in _OPEN:
            stopped = evaluation.model_copy(update={"state": state})
            await context.store.put_evaluation(study_id, stopped)
    for variant in await context.store.variants(study_id):
        if variant.state in _OPEN:
            stopped_variant = variant.model_copy(update={"state": state, "phase": ""})
            await context.store.put_variant(study_id, stopped_variant)


async def _cancel(context: Context, study_id: str, job: Job) -> None:
    cancel: Callable[..., Awaitable[Any]]
    request: Any
    try:
        if job.kind == "evaluation":
            cancel = context.peers.evaluator(job.owner).CancelEvaluation
            request = evaluation_pb2.CancelEvaluationRequest(id=job.id)
        else:
            cancel = context.peers.compression.CancelVariant
            request = compression_pb2.CancelVariantRequest(id=job.id)
        await call(cancel, request, timeout=_SECONDS)
    except (NotFound, FailedPrecondition):
        pass  # it has ended already
    except AssayError as error:
        _LOG.warning("job_not_cancelled", kind=job.kind, reason=error.reason)
        return
    await context.store.drop_job(study_id, job)
