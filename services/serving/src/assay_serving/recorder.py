"""What engines tell about their models, written to the records in the order it happened."""

from __future__ import annotations

import asyncio

from assay_core.errors import AssayError
from assay_core.resources import State
from assay_serving.engine_ports import EngineView, LoadFacts
from assay_serving.leases import Lease, LeaseState
from assay_serving.registry import WAITING, ModelRegistry


class ModelRecorder:
    """`ModelEvents` of all engines."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        # What is written last must be what happened last.
        self._recording = asyncio.Lock()

    async def requested(self, engine: EngineView, lease: Lease, request_id: str) -> None:
        """Somebody asked for an artifact; unless it is resident, it waits for its turn."""
        async with self._recording:
            if lease.state is LeaseState.PENDING and engine.resident != lease.digest:
                await self._registry.wait_again(lease.model_id, request_id)

    async def loading(self, engine: EngineView, digest: str, phase: str) -> None:
        """See `ModelEvents`."""
        async with self._recording:
            await self._registry.update(engine.id, digest, State.RUNNING, phase, ready=False)

    async def resident(self, engine: EngineView, digest: str, load: LoadFacts) -> None:
        """See `ModelEvents`."""
        async with self._recording:
            await self._registry.update(
                engine.id,
                digest,
                State.SUCCEEDED,
                "resident",
                ready=True,
                swapped=load.swapped,
                load_seconds=load.seconds,
            )

    async def failed(self, engine: EngineView, digest: str, error: AssayError) -> None:
        """See `ModelEvents`."""
        async with self._recording:
            if engine.book.pending(digest):
                await self._wait(engine, digest)
            else:
                await self._registry.update(
                    engine.id, digest, State.FAILED, "failed", error=error, ready=False
                )

    async def left(self, engine: EngineView, digest: str, why: str) -> None:
        """See `ModelEvents`."""
        async with self._recording:
            if engine.book.pending(digest):
                await self._wait(engine, digest)
            else:
                # Who was pushed out or unloaded is not missed; who is lost otherwise may be.
                await self._registry.update(
                    engine.id, digest, State.CANCELLED, why, ready=False, wanted=False
                )

    async def withdrawn(self, engine: EngineView, digest: str) -> None:
        """See `ModelEvents`; while others wait for it, nothing has changed."""
        async with self._recording:
            if engine.resident != digest and not engine.book.pending(digest):
                await self._registry.withdraw(engine.id, digest)

    async def _wait(self, engine: EngineView, digest: str) -> None:
        """Somebody waits for the artifact: for them its time is still to come."""
        await self._registry.update(engine.id, digest, State.QUEUED, WAITING, ready=False)
