"""The queue: runs accepted variants in worker processes, and picks up what a crash left."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, suppress
from typing import Any

from assay_compression import artifacts
from assay_compression.jobs.reports import ErrorReport, ExitReport, ProgressReport, ResultReport
from assay_compression.jobs.work_dirs import discard
from assay_compression.jobs.workers import Nursery
from assay_compression.metrics import JOB_SECONDS, JOBS, ON_DEVICE, QUEUED, RUNNING, WORKER_DEATHS
from assay_compression.planning import Planner
from assay_compression.settings import CompressionSettings
from assay_compression.variants import job_of, spec_of, status_of, work_dir
from assay_core.errors import (
    AssayError,
    FailedPrecondition,
    Internal,
    NotFound,
    ResourceExhausted,
    Unavailable,
    from_document,
)
from assay_core.logs import exception_facts, get_logger
from assay_core.resources import Progress, Record, ResourceStore, State
from assay_core.storage import ObjectStore

_LOG = get_logger("compression.jobs")
_ACTIVE = frozenset({State.QUEUED, State.RUNNING})
_DATABASE_DOWN = (Unavailable, ResourceExhausted)
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0


class JobRunner:
    """Runs jobs in the order they were accepted, one on each of the settings' places."""

    def __init__(
        self,
        settings: CompressionSettings,
        records: ResourceStore,
        objects: ObjectStore,
        planner: Planner,
    ) -> None:
        self._settings = settings
        self._records = records
        self._objects = objects
        self._planner = planner
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._waiting: set[str] = set()
        self._places: dict[str, Nursery] = {}
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Queues what an earlier process left unfinished, oldest first, and begins to work."""
        async for record in self._records.every(None, order_by="create_time"):
            if record.state in _ACTIVE:
                self.submit(record.id)
            elif record.state == State.CANCELLING:
                await self._records.update(record.id, state=State.CANCELLED)
        nurseries = [Nursery(self._settings.threads, each) for each in self._settings.places]
        self._loops = [
            asyncio.create_task(self._work(nursery), name=f"compression-worker-{i}")
            for i, nursery in enumerate(nurseries)
        ]

    def submit(self, variant: str) -> None:
        """Queues a variant, unless it waits already."""
        if variant not in self._waiting:
            self._waiting.add(variant)
            self._queue.put_nowait(variant)
            QUEUED.set(len(self._waiting))

    async def cancel(self, variant: str) -> Record:
        """Cancels a variant; a running worker is ended.

        Raises:
            NotFound: If there is no such variant.
            FailedPrecondition: If it has ended otherwise.
        """
        record = await self._records.get(variant)
        if record.state in (State.CANCELLED, State.CANCELLING):
            return record
        with suppress(FailedPrecondition):
            return await self._records.update(variant, state=State.CANCELLED, expect={State.QUEUED})
        record = await self._records.update(variant, state=State.CANCELLING, expect={State.RUNNING})
        if (place := self._places.get(variant)) is not None:
            await place.kill()
        return record

    def discard_work(self, variant_key: str) -> None:
        """Deletes what an ended job left to be resumed, unless a worker holds it."""
        discard(work_dir(self._settings, variant_key))

    async def drain(self) -> None:
        """Ends workers and hands their jobs back to the queue, for the next process."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    async def _work(self, place: Nursery) -> None:
        try:
            while True:
                await self._run_next(place)
        finally:
            await place.kill()

    async def _run_next(self, place: Nursery) -> None:
        try:
            async with asyncio.timeout(self._settings.worker_idle_seconds):
                variant = await self._queue.get()
        except TimeoutError:
            await place.kill()
            variant = await self._queue.get()
        self._waiting.discard(variant)
        QUEUED.set(len(self._waiting))
        try:
            await self._run(variant, place)
        except NotFound:
            _LOG.info("variant_deleted", variant=variant)
        except Exception as error:  # noqa: BLE001 - one bad job must not stop the queue
            _LOG.error("job_failed_unexpectedly", variant=variant, **exception_facts(error))
            await self._fail(variant, Internal("unexpected error while running the job"))

    async def _run(self, variant: str, place: Nursery) -> None:
        try:
            record = await self._store(variant, state=State.RUNNING, expect=_ACTIVE)
        except FailedPrecondition:
            return  # Cancelled, or finished by another server, while it waited.
        method = spec_of(record).method
        started = time.monotonic()
        RUNNING.inc()
        ON_DEVICE.labels(place.device).inc()
        try:
            artifact = await self._make(record, place)
        except AssayError as error:
            JOBS.labels(method, "failed").inc()
            _LOG.warning("job_failed", variant=variant, method=method, reason=error.reason)
            await self._fail(variant, error)
        except asyncio.CancelledError:
            # Draining: the job goes back to the queue with all layers it has done.
            with suppress(FailedPrecondition, NotFound):
                await self._records.update(variant, state=State.QUEUED, expect={State.RUNNING})
            raise
        else:
            if artifact is None:
                JOBS.labels(method, "cancelled").inc()
                await self._store(variant, state=State.CANCELLED)
                return
            JOBS.labels(method, "succeeded").inc()
            JOB_SECONDS.labels(method).observe(time.monotonic() - started)
            await self._store(variant, state=State.SUCCEEDED, status={"artifact": artifact})
        finally:
            RUNNING.dec()
            ON_DEVICE.labels(place.device).dec()

    async def _make(self, record: Record, place: Nursery) -> str | None:
        """The artifact's digest; None if the variant was cancelled.

        Raises:
            AssayError: What the worker reported, or that it keeps dying.
        """
        plan = status_of(record).plan
        known = await asyncio.to_thread(artifacts.find, self._objects, plan.variant_key)
        if known is not None:
            return known.digest
        data = self._objects.local_path("") if self._objects.is_local else None
        await asyncio.to_thread(self._planner.check_disk, plan, data)
        for attempt in range(1, self._settings.worker_attempts + 1):
            code, artifact = await self._run_worker(record, place)
            if artifact is not None:
                return artifact
            if (await self._records.get(record.id)).state == State.CANCELLING:
                return None
            WORKER_DEATHS.labels(spec_of(record).method).inc()
            _LOG.warning("worker_died", variant=record.id, exit_code=code, attempt=attempt)
        raise Internal(
            f"the worker died {self._settings.worker_attempts} times, last with exit code {code}",
            reason="WORKER_DIED",
            remedy="a code of -9 is mostly a lack of memory; the worker's log is "
            f"{self._settings.job_logs.name}/{record.id}.log under ASSAY_HOME; "
            "create the variant again to resume",
            metadata={"exit_code": str(code)},
        )

    async def _run_worker(self, record: Record, place: Nursery) -> tuple[int | None, str | None]:
        """The worker's exit code, if that is known, and the artifact, if there is one."""
        job = job_of(record, self._settings, place.device)
        code: int | None = None
        artifact: str | None = None
        error: AssayError | None = None
        self._places[record.id] = place
        try:
            # A cancel before the line above found no worker to end.
            if (await self._records.get(record.id)).state == State.CANCELLING:
                return None, None
            async with aclosing(
                place.run(job, self._settings.job_logs / f"{record.id}.log")
            ) as reports:
                async for report in reports:
                    match report:
                        case ProgressReport():
                            # A cancel while the worker started found nothing to end.
                            if await self._progress(record.id, report) == State.CANCELLING:
                                await place.kill()
                        case ResultReport():
                            artifact = report.artifact
                        case ErrorReport():
                            error = from_document(report.error)
                        case ExitReport():
                            code = report.code
        finally:
            self._places.pop(record.id, None)
        if error is not None:
            raise error
        return code, artifact

    async def _progress(self, variant: str, report: ProgressReport) -> State:
        progress = Progress(
            completed=report.completed,
            total=report.total,
            unit="layers",
            phase=report.phase,
            eta_seconds=report.eta_seconds,
        )
        try:
            return (await self._records.update(variant, progress=progress)).state
        except _DATABASE_DOWN as error:
            # Progress is for people: a job goes on without it.
            _LOG.warning("progress_not_stored", variant=variant, reason=error.reason)
            return State.RUNNING

    async def _fail(self, variant: str, error: AssayError) -> None:
        with suppress(FailedPrecondition, NotFound):
            await self._store(variant, state=State.FAILED, error=error)

    async def _store(self, variant: str, **change: Any) -> Record:
        """Stores how a job stands, once the database can: else it would wait or run for ever.

        Bound by this process's life, after which the next one takes the job up again; safe because
        a state may be stored twice.
        """
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._records.update(variant, **change)
            except _DATABASE_DOWN as error:
                _LOG.warning("state_not_stored", variant=variant, reason=error.reason)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
