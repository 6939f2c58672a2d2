"""One engine of the gateway: its queue of requests, its resident artifact, and its end.

The engine's task serves the lease book: it grants, loads or waits. Loading is exclusive with
generation (`gate`), and happens only when no lease is held. Everything slow runs in worker threads.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from assay_core.errors import AssayError, Unavailable
from assay_core.logs import exception_facts, get_logger
from assay_serving import metrics
from assay_serving.domain import Answer, EngineSpec, Failure, Item
from assay_serving.engine_news import EngineNews
from assay_serving.engine_ports import (
    RETRY_SECONDS,
    Loadable,
    LoadFacts,
    ModelEvents,
    Residency,
    engine_dead,
    not_resident,
    start_failed,
    step_failed,
)
from assay_serving.gates import InFlightLimit, SwapGate
from assay_serving.leases import Grant, Lease, LeaseBook, LeaseState, Load, Wait
from assay_serving.runtime import EngineUnreachableError, Runtime

LIVENESS_SECONDS = 5.0

_LOG = get_logger("assay.serving.engine")


@dataclass(slots=True)
class _State:
    digest: str | None = None
    handle: Any = None
    load: LoadFacts = field(default_factory=LoadFacts)


class Engine:
    """An engine by its id: running or not, it keeps its queue of requests."""

    def __init__(
        self,
        engine_id: str,
        spec: EngineSpec,
        *,
        runtime: Runtime,
        events: ModelEvents,
        residency: Residency,
        max_in_flight: int,
        memory_bytes: int = 0,
        start_seconds: float = 1800.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.id = engine_id
        self.spec = spec
        self.memory_bytes = memory_bytes
        self.book = LeaseBook(clock)
        self.gate = SwapGate()
        self.limit = InFlightLimit(max_in_flight * spec.most_replicas)
        self.last_used = clock()
        self._runtime = runtime
        self._events = events
        self._news = EngineNews(self, events, self.changed)
        self._residency = residency
        self._start_seconds = start_seconds
        self._clock = clock
        self._artifacts: dict[str, Loadable] = {}
        self._state = _State()
        self._wake = asyncio.Event()
        self._turned = asyncio.Event()
        self._changing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    @property
    def resident(self) -> str | None:
        """Digest of the artifact that answers now."""
        return self._state.digest

    @property
    def running(self) -> bool:
        """Whether the engine's processes exist."""
        return self._state.handle is not None

    @property
    def takes_turns(self) -> bool:
        """Whether batches go to one place, one after another; several replicas share them."""
        return not self.spec.external and self.spec.most_replicas == 1

    @property
    def load(self) -> LoadFacts:
        """How the resident artifact was loaded."""
        return self._state.load

    async def request(self, artifact: Loadable, lease: Lease) -> None:
        """Ask for an artifact. It may be granted before this returns."""
        self._artifacts[artifact.digest] = artifact
        self.book.request(lease)
        await self._grant()
        if self._task is None:
            # A context of its own: the queue outlives the call that opened it, and its log lines
            # would else carry that call's request id.
            self._task = asyncio.create_task(
                self._serve(), name=f"assay-{self.id}", context=contextvars.Context()
            )
        self._wake.set()

    async def borrow(self, lease: Lease) -> None:
        """Ask for the resident artifact, and wait until it is the lease's turn.

        Raises:
            FailedPrecondition: Its artifact is not resident.
        """
        if self._state.digest != lease.digest:
            raise not_resident()
        await self.request(self._artifacts[lease.digest], lease)
        await self.turn(lease.id)

    def changed(self) -> None:
        """Something about the leases changed; look at the queue again."""
        self._wake.set()

    def release(self, lease_id: str) -> None:
        """End a lease, or take back a request that waits."""
        for lease in self.book.release(lease_id):
            self._news.withdrawn(lease.digest)
        self._wake.set()

    async def turn(self, lease_id: str) -> None:
        """Wait while a lease waits for its turn.

        A model can be resident for one holder while the lease of a later one stands in the queue
        behind another artifact.
        """
        while self.book.is_pending(lease_id):
            self._turned.clear()
            await self._turned.wait()

    async def generate(
        self, items: Sequence[Item], lease_id: str, digest: str
    ) -> AsyncGenerator[list[Answer], None]:
        """Answer a batch with the leased artifact. Ending the iteration aborts what is left.

        Raises:
            FailedPrecondition: The lease does not give the right.
            Unavailable: The engine died; it is started again by the next LoadModel.
        """
        async with self.gate.shared():
            self.book.check(lease_id, digest)
            self.last_used = self._clock()
            answers = self._runtime.generate(self._state.handle, items, digest)
            try:
                async with aclosing(answers):
                    async for results in answers:
                        yield results
            except EngineUnreachableError as error:
                _LOG.warning("engine_unreachable", engine=self.id, cause=str(error))
                raise await self.died() from None
            finally:
                self.last_used = self._clock()

    async def count_tokens(self, items: Sequence[Item], digest: str) -> list[int | Failure]:
        """Tokens of each prompt, by the engine's own tokenizer.

        Raises:
            FailedPrecondition: The artifact is not resident.
            Unavailable: The engine died.
        """
        async with self.gate.shared():
            if self._state.digest != digest:
                raise not_resident()
            try:
                return await self._runtime.count_tokens(self._state.handle, items)
            except EngineUnreachableError:
                raise await self.died() from None

    async def memory(self) -> int:
        """Memory of the engine's processes in bytes.

        Raises:
            FailedPrecondition: None of them is left.
            Unavailable: The engine died.
        """
        async with self.gate.shared():
            if not self.running:
                raise not_resident()
            try:
                return await self._runtime.memory(self._state.handle)
            except EngineUnreachableError:
                raise await self.died() from None

    async def died(self) -> Unavailable:
        """Note that the engine is dead and end what is left of it; returns the error to raise."""
        error = engine_dead(self.id)
        # Whole, also if the call that noticed it is cancelled: what is left would else be ended
        # beside the engine that comes next.
        await asyncio.shield(self._bury(error))
        return error

    async def _bury(self, error: AssayError) -> None:
        async with self._changing:
            if self.running:
                metrics.ENGINE_DEATHS.inc()
                if self._state.digest is not None:
                    self._news.failed(self._state.digest, error)
                await self._clear()

    async def end(self, why: str, *, unless_used: bool = False) -> None:
        """End the engine once the generations inside have left; the next request restarts it.

        Args:
            why: The phase of its model from then on.
            unless_used: Leave it alone if it has been asked for meanwhile.
        """
        async with self.gate.exclusive():
            if not (unless_used and not self.book.idle):
                await asyncio.shield(self._end(why))

    async def _end(self, why: str) -> None:
        async with self._changing:
            if self.running:
                if self._state.digest is not None:
                    self._news.left(self._state.digest, why)
                await self._clear()

    async def _clear(self) -> None:
        """From now on nothing is resident, no lease is held, and no process is left."""
        self._state = _State()
        self.book.end_held()
        self._wake.set()
        await asyncio.to_thread(self._runtime.delete, self.id)
        await self._news.tell()

    async def close(self) -> None:
        """Stop serving the queue."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _serve(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._news.tell()
                match await self._grant():
                    case Load(lease=lease):
                        await self._load(lease)
                    case Wait(seconds=seconds):
                        await self._sleep(seconds)
            except Exception as error:  # noqa: BLE001 - the queue must outlive a failed step
                _LOG.error("queuestep_failed", engine=self.id, **exception_facts(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _grant(self, *, loaded: bool = False) -> Load | Wait:
        """Grant whatever can be granted; returns the first step that takes time.

        The model is announced as resident after its leases are granted, so that who waits for it
        can use the lease at once.
        """
        granted = loaded
        while isinstance(step := self.book.step(self._state.digest), Grant):
            granted = True
        self._turned.set()
        if granted and self._state.digest is not None:
            self._news.resident(self._state.digest, self._state.load)
            await self._news.tell()
        return step

    async def _sleep(self, seconds: float | None) -> None:
        pause = LIVENESS_SECONDS if self.running else seconds
        pause = pause if seconds is None or pause is None else min(seconds, pause)
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            if self.running and not self.gate.in_use:
                await self._check_alive()

    async def _check_alive(self) -> None:
        handle = self._state.handle
        try:
            statuses = await asyncio.to_thread(self._runtime.statuses, handle)
            alive = bool(statuses) and all(status.ready for status in statuses)
        except EngineUnreachableError as error:
            _LOG.warning("engine_unreachable", engine=self.id, cause=str(error))
            alive = False
        if not alive and self._state.handle is handle:
            await self.died()

    async def _load(self, lease: Lease) -> None:
        digest = lease.digest
        artifact = self._artifacts[digest]
        try:
            await self._events.loading(self, digest, "verifying files")
            # A damaged artifact is found here, before weights or another engine are touched.
            await asyncio.to_thread(artifact.verify)
            async with self._alone(), self._changing:
                # Taken back meanwhile, it has let others pass, who may hold what is resident.
                if lease.state is LeaseState.PENDING:
                    await self._make_resident(artifact)
        except Exception as failure:  # noqa: BLE001 - whatever it is, who waits is told
            self._fail(digest, failure)
            await self._news.tell()

    def _fail(self, digest: str, failure: Exception) -> None:
        """A load has failed, unless only the records could not be told that it has not."""
        if digest == self._state.digest:
            self._news.resident(digest, self._state.load)
            return
        error = self._load_error(failure)
        _LOG.warning("load_failed", engine=self.id, reason=error.reason, digest=digest)
        metrics.LOADS.labels("failed").inc()
        self.book.end_artifact(digest)
        self._news.failed(digest, error)

    def _load_error(self, failure: Exception) -> AssayError:
        if isinstance(failure, AssayError):
            return failure
        if isinstance(failure, EngineUnreachableError):
            return start_failed(self.id, failure)
        _LOG.error("load_broke", engine=self.id, **exception_facts(failure))
        return step_failed(self.id, failure)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        if self.running:
            async with self.gate.exclusive():
                yield
        else:
            async with self._residency.room_for(self), self.gate.exclusive():
                yield

    async def _make_resident(self, artifact: Loadable) -> None:
        before, swapping = self._state.digest, self.running
        phase = "swapping weights" if swapping else "starting engine"
        await self._events.loading(self, artifact.digest, phase)
        started = self._clock()
        handle = self._state.handle
        self._state = _State(digest=None, handle=handle)
        if before is not None:
            self._news.left(before, "swapped out")
            await self._news.tell()
        try:
            handle = await self._deployed(artifact)
        except BaseException:
            self._state = _State()
            raise
        facts = LoadFacts(seconds=self._clock() - started, swapped=swapping)
        self._state = _State(artifact.digest, handle, facts)
        self.last_used = self._clock()
        await self._grant(loaded=True)
        kind = "swapped" if swapping else "started"
        metrics.LOADS.labels(kind).inc()
        metrics.LOAD_SECONDS.labels(kind).observe(facts.seconds)
        _LOG.info(
            "resident", engine=self.id, digest=artifact.digest, how=kind, seconds=facts.seconds
        )

    async def _deployed(self, artifact: Loadable) -> Any:
        """The handle of the engine that holds the artifact.

        An engine for which there is no room (more replicas or GPUs than there are) never starts;
        it is ended after a while, so that others get their turn.
        """
        deploying = asyncio.create_task(
            asyncio.to_thread(
                self._runtime.deploy, self.id, self.spec, artifact.location, artifact.digest
            )
        )
        await asyncio.wait({deploying}, timeout=self._start_seconds)
        if not deploying.done():
            _LOG.error("start_takes_too_long", engine=self.id, seconds=self._start_seconds)
            await asyncio.to_thread(self._runtime.delete, self.id)
        return await deploying
