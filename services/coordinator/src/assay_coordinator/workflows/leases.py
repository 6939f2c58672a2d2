"""A lease on a variant's weights, kept for as long as its evaluations run.

The serving service may restart, or end a lease that was not renewed in time. The keeper then asks
for the model again and tells those who use the lease; an evaluator that lost its lease waits and
never fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from google.protobuf import duration_pb2

from assay_coordinator.domain.progress import ArtifactFacts, Job
from assay_coordinator.wire import peers as wire
from assay_coordinator.workflows.context import Context, VariantWork
from assay_core.client import call, stream
from assay_core.errors import (
    AssayError,
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    is_retryable,
)
from assay_core.logs import get_logger
from assay_core.pb import serving_pb2

_LOG = get_logger("assay.coordinator.leases")
_RELEASE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 10.0


class LeaseKeeper:
    """Holds one lease after another on the same artifact."""

    def __init__(self, work: VariantWork, artifact: ArtifactFacts) -> None:
        self._work = work
        self._artifact = artifact
        self._serving = work.context.peers.serving
        self._settings = work.context.settings
        self._ttl = duration_pb2.Duration()
        self._ttl.FromNanoseconds(round(self._settings.lease_ttl_seconds * 1e9))
        self._current: asyncio.Future[serving_pb2.Lease] = asyncio.Future()
        self._changed = asyncio.Event()
        self._held: serving_pb2.Lease | None = None
        self._loading: asyncio.Task[serving_pb2.LoadModelResponse] | None = None

    async def lease(self) -> serving_pb2.Lease:
        """The lease to use now; waits while there is none.

        Raises:
            AssayError: If the model cannot be loaded.
        """
        return await asyncio.shield(self._current)

    async def wait_change(self) -> None:
        """Return when the lease in use is not the current one any more."""
        await self._changed.wait()

    async def verify(self) -> None:
        """Check the current lease with the serving service, and replace it if it is gone."""
        held = self._held
        if held is None:
            return
        try:
            await self._renew(held)
        except (NotFound, FailedPrecondition):
            self._retire()
        except AssayError as error:
            if not is_retryable(error):
                raise

    async def keep(self) -> None:
        """Hold one lease after another until cancelled; ends only by an error."""
        while True:
            lease = await self._acquire()
            self._held = lease
            self._changed = changed = asyncio.Event()
            self._current.set_result(lease)
            await self._renew_until_lost(lease, changed)
            self._retire()
            await self._work.say(f"{self._work.key}: lease lost, asking again")

    def ended(self, keeping: asyncio.Task[None]) -> None:
        """Whoever waits for a lease learns why `keep` ended."""
        error = None if keeping.cancelled() else keeping.exception()
        if error is not None:
            self._retire()
            self._current.set_exception(error)
            self._current.exception()  # a lease that nobody waits for is no unhandled error

    async def release(self) -> None:
        """Give back every lease of this variant on record, also those from before a crash."""
        if self._loading is not None and not self._loading.done():
            await asyncio.wait({self._loading}, timeout=_RELEASE_SECONDS)
            self._loading.cancel()
        context, study_id = self._work.context, self._work.run.study_id
        for job in await context.store.jobs(study_id):
            if job.kind == "lease" and job.owner == self._work.key:
                await release_lease(context, study_id, job)

    # -- one lease ---------------------------------------------------------------------------------

    async def _acquire(self) -> serving_pb2.Lease:
        """Load the model and wait until it is resident; again if the service forgets it."""
        limit = self._settings.load_timeout_seconds
        clock = asyncio.get_running_loop().time
        end = clock() + limit
        for attempt in itertools.count(1):
            try:
                lease = await self._acquire_once()
            except AssayError as error:
                forgotten = isinstance(error, NotFound) or is_retryable(error)
                if not forgotten or clock() > end:
                    raise
                _LOG.info("model_not_loaded", reason=error.reason, attempt=attempt)
            else:
                if lease is not None:
                    return lease
                if clock() > end:
                    break
            await asyncio.sleep(min(attempt, _LONGEST_PAUSE_SECONDS))
        raise DeadlineExceeded(
            f"every lease ended before the model was resident, for {limit:g} s",
            reason="LEASE_LOST",
            remedy="look at the serving service, or raise lease_ttl_seconds",
        )

    async def _acquire_once(self) -> serving_pb2.Lease | None:
        """A lease on the resident model; None if it ended while the model was loading."""
        # Shielded: a lease that was granted to a cancelled call must still be given back.
        self._loading = asyncio.create_task(self._load())
        response = await asyncio.shield(self._loading)
        lease = response.lease
        resident = asyncio.create_task(self._until_resident(response.model))
        renewing = asyncio.create_task(self._renew_until_lost(lease, asyncio.Event()))
        try:
            await asyncio.wait({resident, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if not resident.done():
                return None
            resident.result()
            return lease
        finally:
            await _end(resident, renewing)

    async def _load(self) -> serving_pb2.LoadModelResponse:
        """Ask for the model and write the lease down."""
        endpoint = self._work.planned.model.endpoint
        request = serving_pb2.LoadModelRequest(
            project=self._work.run.project,
            # The same after a crash, so that a lease nobody wrote down is found again; serving
            # takes it for a new request once that lease has ended.
            request_id=self._work.run.request_id("lease", self._work.key),
            artifact_uri="" if endpoint else self._artifact.uri,
            artifact_digest=self._artifact.digest,
            endpoint=endpoint,
            lease_ttl=self._ttl,
            holder=self._work.run.study_id,
        )
        limit = self._settings.load_timeout_seconds
        response = await self._work.call(self._serving.LoadModel, request, "serving", seconds=limit)
        job = Job(kind="lease", id=response.lease.id, owner=self._work.key)
        await self._work.put_job(job)
        return response

    async def _until_resident(self, model: serving_pb2.Model) -> None:
        request = serving_pb2.WatchModelRequest(id=model.meta.id)
        get = serving_pb2.GetModelRequest(id=model.meta.id)
        limit = self._settings.load_timeout_seconds
        end = asyncio.get_running_loop().time() + limit
        while not await self._is_resident(model):
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                raise DeadlineExceeded(
                    f"the model was not resident after {limit:g} s",
                    reason="MODEL_NOT_RESIDENT",
                    remedy="look at the serving service, or raise load_timeout_seconds",
                )
            try:
                updates = stream(self._serving.WatchModel, request, timeout=left)
                async with aclosing(updates):
                    async for update in updates:
                        model = update.model
                        if await self._is_resident(model):
                            return
            except AssayError as error:
                if not (is_retryable(error) or isinstance(error, DeadlineExceeded)):
                    raise
            await asyncio.sleep(0.3)
            model = (await self._work.call(self._serving.GetModel, get, "serving")).model

    async def _is_resident(self, model: serving_pb2.Model) -> bool:
        state = wire.state_name(model.meta.state)
        if state == "FAILED":
            raise wire.failure(model.meta, f"model {model.meta.id}")
        if state == "CANCELLED":
            # As when this coordinator was away for longer than the lease lasts.
            raise NotFound("the model's load ended with its lease", reason="LEASE_LOST")
        progress = wire.progress(model.meta.progress)
        if state != "SUCCEEDED":
            phase = progress.phase or ("queued" if state == "QUEUED" else "loading")
            await self._work.set(phase=f"loading: {phase}", state="WAITING_FOR_MODEL")
        return state == "SUCCEEDED"

    async def _renew_until_lost(self, lease: serving_pb2.Lease, lost: asyncio.Event) -> None:
        """Renew at a third of the time to live; returns when the lease is gone."""
        pause = self._settings.lease_ttl_seconds / 3
        while not lost.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(lost.wait(), pause)
            if lost.is_set():
                return
            try:
                await self._renew(lease)
            except (NotFound, FailedPrecondition):
                return
            except AssayError as error:
                _LOG.info("lease_renewal_failed", reason=error.reason)

    async def _renew(self, lease: serving_pb2.Lease) -> None:
        request = serving_pb2.RenewLeaseRequest(lease_id=lease.id, lease_ttl=self._ttl)
        await call(self._serving.RenewLease, request, timeout=10)

    def _retire(self) -> None:
        """The lease is gone: whoever asks from now on waits for the next one."""
        if self._current.done():
            self._current = asyncio.Future()
        self._held = None
        self._changed.set()


@asynccontextmanager
async def held_lease(work: VariantWork, artifact: ArtifactFacts) -> AsyncIterator[LeaseKeeper]:
    """Keep a lease during the block; it is released at the end, however the block ends."""
    keeper = LeaseKeeper(work, artifact)
    keeping = asyncio.create_task(keeper.keep())
    keeping.add_done_callback(keeper.ended)
    try:
        yield keeper
    finally:
        await _end(keeping)
        await asyncio.shield(keeper.release())


async def release_lease(context: Context, study_id: str, job: Job) -> None:
    """Release a lease on record; one that cannot be released now ends by itself."""
    request = serving_pb2.ReleaseLeaseRequest(lease_id=job.id)
    try:
        await call(context.peers.serving.ReleaseLease, request, timeout=_RELEASE_SECONDS)
    except NotFound:
        pass
    except AssayError as error:
        _LOG.warning("lease_not_released", reason=error.reason)
        return
    await context.store.drop_job(study_id, job)


async def _end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
