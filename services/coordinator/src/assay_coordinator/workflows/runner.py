"""The durable workflow of a study, on DBOS.

One workflow per attempt, `<study>:<attempt>`. What each step does is idempotent (creates carry an
id derived from study, attempt and content), so a step cut short by `kill -9` is simply run again;
what was finished is read from the workflow store. In which order variants go is in `pipeline`.

Everything runs on the event loop of the process: DBOS is launched from it and adopts it, and the
gRPC channels belong to it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

from dbos import DBOS, DBOSConfiguredInstance, SetWorkflowID, StepOptions

from assay_coordinator.domain.canary import CanarySpec
from assay_coordinator.domain.matrix import PlannedVariant, expand
from assay_coordinator.domain.progress import VariantStatus
from assay_coordinator.domain.states import ACTIVE
from assay_coordinator.metrics import study_ended
from assay_coordinator.store import StudyRecord
from assay_coordinator.workflows.comparing import compare_variant
from assay_coordinator.workflows.compressing import make_variant
from assay_coordinator.workflows.context import Context, VariantWork, load_run
from assay_coordinator.workflows.evaluating import evaluate_variant
from assay_coordinator.workflows.finishing import finish_study
from assay_coordinator.workflows.patience import PATIENT
from assay_coordinator.workflows.pipeline import Begun, run_variants
from assay_coordinator.workflows.replays import compare_replays
from assay_coordinator.workflows.stopping import end_children, mark_stopped
from assay_coordinator.workflows.turns import Resource
from assay_core.errors import AssayError, FailedPrecondition, Internal, NotFound
from assay_core.logs import get_logger
from assay_core.resources import State

# Workflows of another version are not taken up: raise it when the order of steps changes.
WORKFLOW_VERSION = "studies-2"

_LOG = get_logger("assay.coordinator.runner")
_MOVING = {"PENDING", "ENQUEUED", "DELAYED"}
_SHOULD_MOVE = (
    "state = QUEUED OR state = RUNNING OR state = WAITING_FOR_MODEL OR state = CANCELLING"
)
# A cancel ends these steps where they stand, instead of at their end.
_MAKE: StepOptions = {**PATIENT, "name": "make", "preemptible": True}
_EVALUATE: StepOptions = {**PATIENT, "name": "evaluate", "preemptible": True}
_COMPARE: StepOptions = {**PATIENT, "name": "compare", "preemptible": True}
_PREEMPTION_SECONDS = 1.5


class Halted(BaseException):
    """Leaves a workflow as it stands, for the next start.

    Not an Exception, and not CancelledError, which turns into an Exception on its way through a
    `concurrent.futures.Future`: the workflow engine would record either as the workflow's end.
    """


def run_id(study_id: str, attempt: int) -> str:
    """Workflow id of an attempt."""
    return f"{study_id}:{attempt}"


@DBOS.dbos_class()
class StudyRunner(DBOSConfiguredInstance):
    """Runs and stops studies."""

    def __init__(self, context: Context) -> None:
        super().__init__(config_name="studies" if context.kind == "study" else "canaries")
        self._context = context
        self._running: set[asyncio.Task[Any]] = set()
        # Told when a variant has its place at a device or an engine, by study, step and variant.
        # The values live as long as their workflow runs in this process.
        self._placed: WeakValueDictionary[tuple[str, ...], asyncio.Event] = WeakValueDictionary()

    # -- from outside ------------------------------------------------------------------------------

    async def start(self, record: StudyRecord) -> None:
        """Start the workflow of a study's current attempt; does nothing if it exists."""
        attempt = record.status.attempt
        await self._start(run_id(record.id, attempt), self.run_study, record.id, attempt)

    async def stop(self, record: StudyRecord, final: State) -> None:
        """Start the workflow that ends a study as CANCELLED or PAUSED."""
        attempt = record.status.attempt
        workflow_id = f"{run_id(record.id, attempt)}:{final.value.lower()}"
        await self._start(workflow_id, self.stop_study, record.id, attempt, final.value)

    async def _start(self, workflow_id: str, workflow: Any, *arguments: Any) -> None:
        # One that exists is running, or is about to be taken up by the engine's own recovery.
        if await DBOS.get_workflow_status_async(workflow_id) is None:
            with SetWorkflowID(workflow_id):
                await DBOS.start_workflow_async(workflow, *arguments)

    async def halt(self) -> None:
        """Stop every workflow of this process where it stands; leases are given back."""
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def reconcile(self) -> None:
        """After a start: every study on record that should be moving has its workflow.

        Heals a crash between writing a record and starting its workflow, and takes up studies whose
        workflow belongs to an older version of this program.
        """
        async for record in self._context.records.every(None, filter_text=_SHOULD_MOVE):
            try:
                await self._move(record)
            except (FailedPrecondition, NotFound) as error:
                # Another replica, or a caller, was faster.
                _LOG.info("study_moved_elsewhere", study=record.id, reason=error.reason)

    async def _move(self, record: StudyRecord) -> None:
        if record.state is State.CANCELLING:
            await self.stop(record, State.CANCELLED)
        elif record.status.goal:
            await self.stop(record, State.PAUSED)
        else:
            await self.start(await self._current(record))

    async def _current(self, record: StudyRecord) -> StudyRecord:
        """The record, at a new attempt if the workflow of this one will never move again."""
        workflow_id = run_id(record.id, record.status.attempt)
        status = await DBOS.get_workflow_status_async(workflow_id)
        if status is None:
            return record
        if status.status in _MOVING and status.app_version == WORKFLOW_VERSION:
            return record
        await DBOS.cancel_workflow_async(workflow_id)
        return await self._context.records.update(
            record.id, state=State.QUEUED, expect=ACTIVE, attempt=record.status.attempt + 1
        )

    # -- workflows ---------------------------------------------------------------------------------

    @DBOS.workflow(name="study", max_recovery_attempts=None)
    async def run_study(self, study_id: str, attempt: int) -> str:
        """Make, evaluate and compare every variant, then finish."""
        try:
            with self._tracked():
                return await self._run_study(study_id, attempt)
        except Exception as error:
            # A defect of ours: the study must not stay RUNNING. (A cancel is no Exception.)
            _LOG.exception("study_workflow_failed", study=study_id)
            await DBOS.run_step_async(
                {**PATIENT, "name": "fail"}, self._fail, study_id, _as_assay(error)
            )
            raise

    async def _run_study(self, study_id: str, attempt: int) -> str:
        begun: list[Begun] = await DBOS.run_step_async(
            {**PATIENT, "name": "begin"}, self._begin, study_id, attempt
        )
        # Step ids are drawn in the order of the matrix, so that a replay draws the same.
        reserved = [[DBOS.reserve_step() for _ in range(3)] for _ in begun]
        where = (study_id, attempt)

        def key(index: int) -> str:
            return begun[index]["key"]

        async def make(index: int, placed: asyncio.Event) -> bool:
            self._placed[study_id, "make", key(index)] = placed
            return await reserved[index][0].run_async(_MAKE, self._make, *where, key(index))

        async def evaluate(index: int, placed: asyncio.Event) -> bool:
            self._placed[study_id, "evaluate", key(index)] = placed
            step = reserved[index][1]
            return await step.run_async(_EVALUATE, self._evaluate, *where, key(index))

        async def compare(index: int) -> None:
            await reserved[index][2].run_async(_COMPARE, self._compare, *where, key(index))

        await run_variants(begun, make, evaluate, compare)
        state: str = await DBOS.run_step_async(
            {**PATIENT, "name": "finish"}, self._finish, study_id, attempt
        )
        return state

    @DBOS.workflow(name="stop", max_recovery_attempts=None)
    async def stop_study(self, study_id: str, attempt: int, final: str) -> None:
        """End the running workflow and the work in the peers, then set the final state."""
        with self._tracked():
            await DBOS.cancel_workflow_async(run_id(study_id, attempt))
            await DBOS.run_step_async({**PATIENT, "name": "end"}, self._end, study_id, final)

    @contextmanager
    def _tracked(self) -> Iterator[None]:
        """The task of a workflow can be halted while it is in the block."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a workflow runs as a task")
        self._running.add(task)
        try:
            yield
        except asyncio.CancelledError:
            raise Halted from None
        finally:
            self._running.discard(task)

    # -- steps -------------------------------------------------------------------------------------

    async def _begin(self, study_id: str, attempt: int) -> list[Begun]:
        """Write down the matrix, or clear what an earlier attempt left unfinished."""
        run = await load_run(self._context, study_id, attempt)
        planned = expand(run.spec)
        known = {variant.key: variant for variant in await self._context.store.variants(study_id)}
        for position, variant in enumerate(planned):
            before = known.get(variant.key)
            fresh = _fresh(variant, position)
            if before is not None:
                fresh = before.model_copy(update={"state": "QUEUED", "phase": "", "error": None})
            await self._context.store.put_variant(study_id, fresh)
        # The pace of this attempt is judged by what it makes.
        for evaluation in await self._context.store.evaluations(study_id):
            found = {"completions_reused": evaluation.progress.completed}
            await self._context.store.put_evaluation(study_id, evaluation.model_copy(update=found))
        await self._context.records.update(
            study_id, state=State.RUNNING, expect=ACTIVE, started_at=time.time()
        )
        count = f"{len(planned)} variant{'s' if len(planned) != 1 else ''}"
        again = f", attempt {attempt}" if attempt > 1 else ""
        await self._context.store.add_event(study_id, f"started with {count}{again}")
        # The sides of a canary come one after the other: they would slow each other.
        looks = run.spec.early_stopping is not None or isinstance(run.spec, CanarySpec)
        return [
            Begun(key=variant.key, reference=variant.reference_key, looks=looks)
            for variant in planned
        ]

    async def _make(self, study_id: str, attempt: int, key: str) -> bool:
        work = await self._work(study_id, attempt, key, "make")
        made = await make_variant(work)
        await work.leave(Resource.COMPRESSION)
        return made

    async def _evaluate(self, study_id: str, attempt: int, key: str) -> bool:
        work = await self._work(study_id, attempt, key, "evaluate")
        evaluated = await evaluate_variant(work)
        await work.leave(Resource.ENGINE)
        return evaluated

    async def _compare(self, study_id: str, attempt: int, key: str) -> int:
        run = await load_run(self._context, study_id, attempt)
        if isinstance(run.spec, CanarySpec) and key == run.spec.variant.key:
            await compare_replays(self._context, run, run.spec)
        return await compare_variant(self._context, run, key)

    async def _finish(self, study_id: str, attempt: int) -> str:
        record = await self._context.records.get(study_id)
        if record.state not in ACTIVE:
            return record.state.value  # finished before a crash, or a cancel came first
        run = await load_run(self._context, study_id, attempt)
        try:
            return await finish_study(self._context, run)
        except FailedPrecondition as error:
            if error.reason != "STATE_CONFLICT":
                raise
            # A cancel or a pause came first; its workflow sets the state.
            return error.metadata["state"]

    async def _fail(self, study_id: str, error: AssayError) -> None:
        await end_children(self._context, study_id)
        try:
            await self._context.records.update(
                study_id, state=State.FAILED, expect=ACTIVE, error=error, ended_at=time.time()
            )
        except FailedPrecondition:
            return
        study_ended(State.FAILED, kind=self._context.kind)
        await self._context.store.add_event(study_id, f"failed: {error.text}")

    async def _end(self, study_id: str, final: str) -> None:
        # The cancelled workflow sees it within a second, ends its steps and gives its lease back;
        # ending its jobs before that would look to it as if they had failed.
        await asyncio.sleep(_PREEMPTION_SECONDS)
        await end_children(self._context, study_id)
        await mark_stopped(self._context, study_id, final)
        state = State(final)
        expect = {State.CANCELLING} if state is State.CANCELLED else ACTIVE
        try:
            await self._context.records.update(
                study_id, state=state, expect=expect, goal="", ended_at=time.time()
            )
        except FailedPrecondition:
            return  # it had ended before
        study_ended(state, kind=self._context.kind)
        await self._context.store.add_event(study_id, state.value.lower())

    async def _work(self, study_id: str, attempt: int, key: str, step: str) -> VariantWork:
        run = await load_run(self._context, study_id, attempt)
        planned = next(variant for variant in expand(run.spec) if variant.key == key)
        status = await self._context.store.variant(study_id, key)
        if status is None:
            raise Internal(f"variant {key} was not written down", reason="VARIANT_NOT_BEGUN")
        placed = self._placed.get((study_id, step, key), asyncio.Event())
        return VariantWork(self._context, run, planned, status, placed)


def _fresh(planned: PlannedVariant, position: int) -> VariantStatus:
    return VariantStatus(
        key=planned.key,
        position=position,
        model_name=planned.model_name,
        model_uri=planned.model.uri,
        method=planned.recipe.name,
        label=planned.label,
        calibration_seed=planned.calibration.seed,
        reference_key=planned.reference_key,
    )


def _as_assay(error: Exception) -> AssayError:
    if isinstance(error, AssayError):
        return error
    return Internal(
        f"the study's workflow ended by {type(error).__name__}",
        reason="WORKFLOW_FAILED",
        remedy="look for study_workflow_failed in the coordinator's log, then resume the study",
    )
