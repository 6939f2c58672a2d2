"""Bring one evaluation to its end: create it, watch it, hand it a new lease when it needs one."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

from assay_coordinator.domain.progress import EvaluationStatus, Job
from assay_coordinator.peers import latest
from assay_coordinator.wire import peers as wire
from assay_coordinator.workflows.context import VariantWork
from assay_coordinator.workflows.leases import LeaseKeeper
from assay_core.client import stream
from assay_core.errors import AssayError, is_retryable
from assay_core.pb import evaluation_pb2

_WRITE_SECONDS = 0.5
_PATIENCE_WITHOUT_MODEL = 3.0
_TERMINAL = {"SUCCEEDED", "FAILED", "CANCELLED"}
_WAITING = "WAITING_FOR_MODEL"


class ModelNeededError(Exception):
    """An evaluation that was planned as complete waits for a model."""


async def follow_evaluation(
    work: VariantWork,
    spec: evaluation_pb2.EvaluationSpec,
    status: EvaluationStatus,
    keeper: LeaseKeeper | None,
    *,
    repeat: int = 0,
    look: int = 0,
) -> EvaluationStatus:
    """Create the evaluation and follow it to a terminal state.

    Creating is idempotent, and it is also how a new lease is handed over; so after any interruption
    (a restart of the evaluator, a lost lease) it is simply created again.

    Args:
        work: The variant.
        spec: What to evaluate.
        status: The evaluation's status so far.
        keeper: Where leases come from; None if no model should be needed.
        repeat: Counts evaluations of the same kind after one that failed for a passing reason.
        look: Row limit of a look of many, after which the evaluation goes on; 0 for the last one.

    Returns:
        Its status, with scores; SUCCEEDED, or still RUNNING after a look.

    Raises:
        ModelNeededError: Without a keeper, if the evaluation waits for a model.
        AssayError: If the evaluation failed or was cancelled.
    """
    follower = _Follower(work, spec, status, keeper, (repeat, look))
    while True:
        evaluation = await follower.create()
        if await follower.follow(evaluation):
            return follower.status
        await asyncio.sleep(0.3)


class _Follower:
    def __init__(
        self,
        work: VariantWork,
        spec: evaluation_pb2.EvaluationSpec,
        status: EvaluationStatus,
        keeper: LeaseKeeper | None,
        attempt: tuple[int, int],
    ) -> None:
        repeat, self._look = attempt
        self._work = work
        self._status = status
        self._keeper = keeper
        self._name = f"evaluator {status.dimension}"
        look_id = str(self._look) if self._look else ""
        self._stub = work.context.peers.evaluator(status.dimension)
        self._request = evaluation_pb2.CreateEvaluationRequest(
            project=work.run.project,
            request_id=work.run.request_id(
                "evaluation", work.key, status.dimension, str(repeat), *filter(None, [look_id])
            ),
            spec=spec,
            parser_versions=work.run.spec.parser_versions,
        )

    @property
    def status(self) -> EvaluationStatus:
        """What is known of the evaluation now."""
        return self._status

    async def create(self) -> evaluation_pb2.Evaluation:
        """Create the evaluation, or find it and hand over the current lease."""
        if self._keeper is not None:
            self._request.lease.CopyFrom(await self._keeper.lease())
        create = self._stub.CreateEvaluation
        evaluation = (await self._work.call(create, self._request, self._name)).evaluation
        await self._work.put_job(self._job(evaluation))
        await self._write(evaluation)
        return evaluation

    async def follow(self, evaluation: evaluation_pb2.Evaluation) -> bool:
        """Watch until the end; False if the evaluation has to be created again."""
        watching = asyncio.create_task(self._watch(evaluation))
        others = set()
        if self._keeper is not None:
            others.add(asyncio.create_task(self._keeper.wait_change()))
        try:
            await asyncio.wait({watching, *others}, return_when=asyncio.FIRST_COMPLETED)
            if not watching.done():
                return False  # a new lease: hand it over
            evaluation = watching.result()
        finally:
            for task in (watching, *others):
                task.cancel()
            await asyncio.gather(watching, *others, return_exceptions=True)
        if wire.state_name(evaluation.meta.state) not in _TERMINAL:
            return False
        await self._finish(evaluation)
        return True

    async def _watch(self, evaluation: evaluation_pb2.Evaluation) -> evaluation_pb2.Evaluation:
        """The last state seen when the stream ends, or when the evaluation waits for long."""
        if wire.state_name(evaluation.meta.state) in _TERMINAL:
            return evaluation
        request = evaluation_pb2.WatchEvaluationRequest(id=evaluation.meta.id)
        waiting_since: float | None = None
        stream_of_all = stream(self._stub.WatchEvaluation, request)
        async with aclosing(latest(stream_of_all, every=_WRITE_SECONDS)) as updates:
            while True:
                try:
                    async with asyncio.timeout(_PATIENCE_WITHOUT_MODEL if waiting_since else None):
                        evaluation = (await anext(updates)).evaluation
                except (StopAsyncIteration, TimeoutError):
                    break
                except AssayError as error:
                    if not is_retryable(error):
                        raise
                    break
                await self._write(evaluation)
                state = wire.state_name(evaluation.meta.state)
                if state in _TERMINAL:
                    return evaluation
                waiting_since = (waiting_since or time.monotonic()) if state == _WAITING else None
                if waiting_since and time.monotonic() - waiting_since > _PATIENCE_WITHOUT_MODEL:
                    break
        if waiting_since is not None:
            await self._without_model()
        return evaluation

    async def _without_model(self) -> None:
        """The evaluator waits for a model: check ours, or say that one is needed after all."""
        if self._keeper is None:
            raise ModelNeededError
        await self._keeper.verify()

    async def _write(self, evaluation: evaluation_pb2.Evaluation) -> None:
        """Write down state and progress."""
        state = wire.state_name(evaluation.meta.state)
        progress = wire.progress(evaluation.meta.progress)
        if not progress.total:
            progress = self._status.progress
        # SUCCEEDED is written with its scores, in one piece: see _finish.
        shown = "RUNNING" if state in _TERMINAL else state
        self._status = self._status.model_copy(
            update={
                "evaluation_id": evaluation.meta.id,
                "state": shown,
                "progress": progress,
                "error": None,
            }
        )
        await self._work.put_evaluation(self._status)

    async def _finish(self, evaluation: evaluation_pb2.Evaluation) -> None:
        """Read the whole evaluation and write its scores down."""
        request = evaluation_pb2.GetEvaluationRequest(id=evaluation.meta.id)
        get = self._stub.GetEvaluation
        evaluation = (await self._work.call(get, request, self._name)).evaluation
        status = self._status
        await self._work.drop_job(self._job(evaluation))
        state = wire.state_name(evaluation.meta.state)
        if state != "SUCCEEDED":
            raise wire.failure(evaluation.meta, f"evaluation {evaluation.meta.id}")
        done = evaluation.meta.progress.total or status.progress.total
        self._status = status.model_copy(
            update={
                "state": "RUNNING" if self._look else state,
                "scores": tuple(wire.score(score) for score in evaluation.scores),
                "pack_digest": evaluation.pack_digest or status.pack_digest,
                "progress": status.progress.model_copy(
                    update={"completed": done, "total": done, "eta_seconds": None}
                ),
                "error": None,
            }
        )
        await self._work.put_evaluation(self._status)
        if not self._look:
            await self._work.say(f"{self._work.key}: {status.dimension} {self._score_text()}")

    def _job(self, evaluation: evaluation_pb2.Evaluation) -> Job:
        return Job(kind="evaluation", id=evaluation.meta.id, owner=self._status.dimension)

    def _score_text(self) -> str:
        score = self._status.score(self._work.run.spec.main_parser)
        if score is None:
            return "has no score"
        if score.value is None:
            return "is incomplete: " + "; ".join(score.missing)
        return f"scored {score.value:.1f}"
