"""Evaluations as durable work: created once, resumed after any loss, never lost.

State machine: QUEUED -> RUNNING -> SUCCEEDED | FAILED; WAITING_FOR_MODEL when completions are
missing and no lease is good, left by a CreateEvaluation of the same content with a new lease. What
is generated lies in shards, so every (re)start computes what is still missing.
"""

from __future__ import annotations

import asyncio
import errno
from dataclasses import dataclass
from typing import Any

from assay_core.digest import digest_of
from assay_core.errors import AssayError, FailedPrecondition, Internal, ResourceExhausted
from assay_core.logs import exception_facts, get_logger
from assay_core.resources import Draft, Record, ResourceStore, State
from assay_evaluators import metrics
from assay_evaluators.sdk.generate import Generator, Lease, ModelGoneError
from assay_evaluators.sdk.plan import Plan
from assay_evaluators.sdk.replaying import Pair
from assay_evaluators.sdk.spec import Spec
from assay_evaluators.service.examples import Page, Query
from assay_evaluators.service.meter import Meter
from assay_evaluators.service.scoring import Scoring

_LOG = get_logger("assay.evaluations")
_ACTIVE = frozenset({State.QUEUED, State.RUNNING, State.WAITING_FOR_MODEL})


@dataclass(frozen=True)
class Creation:
    """A request to evaluate, with everything resolved."""

    project: str
    request_id: str
    spec: Spec
    parser_versions: tuple[str, ...]
    lease: Lease | None


class Evaluations:
    """The evaluations of one dimension.

    Args:
        scoring: Plans and scores of the dimension.
        records: Durable records.
        generator: Client of serving.
        at_once: Evaluations that run at a time.
    """

    def __init__(
        self,
        scoring: Scoring,
        *,
        records: ResourceStore,
        generator: Generator,
        at_once: int,
    ) -> None:
        self.scoring = scoring
        self.dimension = scoring.dimension
        self.records = records
        self._generator = generator
        self._slots = asyncio.Semaphore(at_once)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._cancelling: set[asyncio.Task[Record]] = set()
        self._stopping = False
        # Leases are handed over and given up under this lock, so that none is overlooked.
        self._leases = asyncio.Lock()

    # -- life of the process ---------------------------------------------------------------------

    async def start(self) -> None:
        """Takes up what an earlier process left; ends what it was cancelling."""
        async for record in self.records.every(None):
            if record.state is State.CANCELLING:
                await self.records.update(record.id, state=State.CANCELLED)
            elif record.state in _ACTIVE and record.spec["evaluation"]["dimension"] == (
                self.dimension.name
            ):
                self._launch(record.id)

    async def stop(self) -> None:
        """Hands work back: flushes what has arrived; records stay for the next process."""
        self._stopping = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._cancelling, return_exceptions=True)

    # -- requests --------------------------------------------------------------------------------

    async def plan(self, spec: Spec) -> tuple[Plan, dict[str, int]]:
        """A plan, and its missing completions by scenario."""
        return await self.scoring.plan(spec)

    async def create(self, creation: Creation) -> Record:
        """Creates an evaluation or returns the one that exists, with its newest lease.

        An evaluation that failed or was cancelled starts again with what it has stored.
        """
        content = {
            "spec": creation.spec.content(),
            "parser_versions": list(creation.parser_versions),
        }
        fingerprint = digest_of(content)
        request_id = creation.request_id or fingerprint
        identity = digest_of([creation.project, request_id, fingerprint])
        draft = Draft(
            id=f"{self.dimension.name}-{identity.removeprefix('sha256:')[:20]}",
            project=creation.project,
            request_id=request_id,
            fingerprint=fingerprint,
            spec={
                "evaluation": creation.spec.document(),
                "parser_versions": list(creation.parser_versions),
            },
            status=_lease_status(creation.lease),
        )
        record, created = await self.records.create(draft)
        if not created:
            record = await self._take_up(record, creation.lease)
        if record.state in (State.QUEUED, State.RUNNING):
            self._launch(record.id)
        return record

    async def cancel(self, evaluation_id: str) -> Record:
        """Ends an evaluation; what is stored is kept. Does nothing to one that has ended.

        It is ended to its end also if who asked for it does not wait that long.
        """
        record = await self.records.get(evaluation_id)
        if record.is_terminal or record.state is State.CANCELLING:
            return record
        try:
            await self.records.update(evaluation_id, state=State.CANCELLING, expect=_ACTIVE)
        except FailedPrecondition:
            return await self.records.get(evaluation_id)  # it ended meanwhile
        ending = asyncio.create_task(self._cancel(evaluation_id))
        self._cancelling.add(ending)
        ending.add_done_callback(self._cancelling.discard)
        return await asyncio.shield(ending)

    async def _cancel(self, evaluation_id: str) -> Record:
        task = self._tasks.get(evaluation_id)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return await self._end(evaluation_id, State.CANCELLED)

    async def rescore(self, evaluation_id: str, parser: str, metric: str) -> dict[str, Any]:
        """Scores stored generations with another parser or metric. Needs no model.

        Raises:
            FailedPrecondition: If completions are missing.
        """
        record = await self.records.get(evaluation_id)
        return await self.scoring.rescore(_spec_of(record), parser, metric)

    async def examples(self, evaluation_id: str, query: Query) -> Page:
        """A page of samples with their text and the main parser's verdict.

        Raises:
            PermissionDenied: If the texts may not be shown.
        """
        record = await self.records.get(evaluation_id)
        parser = self.dimension.parser(record.spec["parser_versions"][0])
        return await self.scoring.examples(_spec_of(record), parser, query)

    async def pairs(self, evaluation_id: str, reference_id: str) -> list[Pair]:
        """Two evaluations of a replay, prompt by prompt, without text.

        Raises:
            FailedPrecondition: If one has not ended well, or they replay different prompts.
        """
        records = [await self.records.get(each) for each in (evaluation_id, reference_id)]
        for record in records:
            if record.state is not State.SUCCEEDED or not self.dimension.replays:
                raise FailedPrecondition(
                    f"evaluation {record.id} is no replay that has ended well",
                    reason="NOT_A_REPLAY",
                    remedy="name evaluations of the dimension `canary` that SUCCEEDED",
                    metadata={"state": record.state.value},
                )
        variant, reference = (_spec_of(record) for record in records)
        parser = self.dimension.parser(records[0].spec["parser_versions"][0])
        return await self.scoring.pairs(variant, reference, parser)

    # -- one evaluation --------------------------------------------------------------------------

    def _launch(self, evaluation_id: str) -> None:
        """Starts an evaluation's task; one that is just ending is started again after its end.

        A start too many does no harm: a task begins by asking the record whether it is needed.
        """
        if evaluation_id in self._tasks:
            self._again.add(evaluation_id)
            return
        task = asyncio.create_task(self._run(evaluation_id), name=evaluation_id)
        self._tasks[evaluation_id] = task
        task.add_done_callback(lambda _: self._ended(evaluation_id))

    def _ended(self, evaluation_id: str) -> None:
        del self._tasks[evaluation_id]
        if evaluation_id in self._again and not self._stopping:
            self._again.discard(evaluation_id)
            self._launch(evaluation_id)

    async def _run(self, evaluation_id: str) -> None:
        try:
            async with self._slots:
                record = await self.records.get(evaluation_id)
                if record.state in _ACTIVE:
                    await self._evaluate(evaluation_id)
        except AssayError as error:
            await self._end(evaluation_id, State.FAILED, error)
        except OSError as error:
            await self._end(evaluation_id, State.FAILED, _storage_error(error))
        except Exception as error:  # noqa: BLE001 (a defect must reach the record, not vanish)
            _LOG.error("evaluation_defect", evaluation=evaluation_id, **exception_facts(error))
            await self._end(evaluation_id, State.FAILED, Internal("the evaluation failed"))

    async def _evaluate(self, evaluation_id: str) -> None:
        record = await self.records.update(evaluation_id, state=State.RUNNING, expect=_ACTIVE)
        plan, missing = await self.plan(_spec_of(record))
        done = plan.completions - sum(missing.values())
        meter = Meter(self.records, evaluation_id, done, plan.completions)
        await meter.show("generating")
        if sum(missing.values()) and not await self._generate(evaluation_id, plan, meter):
            return
        await meter.show("scoring")
        parsers = [self.dimension.parser(name) for name in record.spec["parser_versions"]]
        status = await self.scoring.score(plan, parsers, meter)
        await self.records.update(
            evaluation_id,
            state=State.SUCCEEDED,
            status=status,
            progress=meter.progress("done"),
            expect=_ACTIVE,
        )
        metrics.EVALUATIONS_ENDED.labels(State.SUCCEEDED).inc()

    async def _generate(self, evaluation_id: str, plan: Plan, meter: Meter) -> bool:
        """Generates with the newest lease; False if the evaluation now waits for another one."""
        used: str | None = None
        while True:
            async with self._leases:
                lease = _lease_of(await self.records.get(evaluation_id))
                if lease is None or lease.id == used:
                    await self.records.update(
                        evaluation_id,
                        state=State.WAITING_FOR_MODEL,
                        progress=meter.progress("waiting for a model lease"),
                        expect=_ACTIVE,
                    )
                    metrics.EVALUATIONS_ENDED.labels(State.WAITING_FOR_MODEL).inc()
                    return False
            used = lease.id
            try:
                await self._generator.run(plan, lease, meter.add)
            except ModelGoneError as gone:
                _LOG.info("model_gone", evaluation=evaluation_id, reason=gone.cause.reason)
            else:
                return True

    async def _take_up(self, record: Record, lease: Lease | None) -> Record:
        """Gives an existing evaluation a newer lease and starts it again if it stands still."""
        async with self._leases:
            if lease is not None and record.status.get("lease") != _lease_status(lease)["lease"]:
                record = await self.records.update(record.id, status=_lease_status(lease))
            again = record.state in (State.FAILED, State.CANCELLED)
            woken = record.state is State.WAITING_FOR_MODEL and lease is not None
            lost = record.state is State.SUCCEEDED and not await asyncio.to_thread(
                self.scoring.exist, record.status.get("scores", ())
            )
            if again or woken or lost:
                return await self.records.update(record.id, state=State.QUEUED)
            return record

    async def _end(
        self, evaluation_id: str, state: State, error: AssayError | None = None
    ) -> Record:
        record = await self.records.get(evaluation_id)
        if record.is_terminal or (record.state is State.CANCELLING and state is State.FAILED):
            return record
        metrics.EVALUATIONS_ENDED.labels(state).inc()
        return await self.records.update(evaluation_id, state=state, error=error)


def _spec_of(record: Record) -> Spec:
    return Spec.model_validate(record.spec["evaluation"])


def _lease_status(lease: Lease | None) -> dict[str, Any]:
    if lease is None:
        return {}
    return {"lease": {"id": lease.id, "artifact_digest": lease.artifact_digest}}


def _lease_of(record: Record) -> Lease | None:
    stored = record.status.get("lease")
    return Lease(**stored) if stored else None


def _storage_error(error: OSError) -> AssayError:
    """A failed write or read of the object store. What is stored already is kept."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceExhausted(
            "the object store has no space left",
            reason="STORAGE_FULL",
            remedy="free space, then create the evaluation again; it resumes from its shards",
        )
    return FailedPrecondition(
        f"the object store failed ({errno.errorcode.get(error.errno or 0, 'unknown error')})",
        reason="STORAGE_FAILED",
        remedy="check data_uri, then create the evaluation again; it resumes from its shards",
    )
