"""The engines of this server, and who ends so that another fits.

An engine is made when it is first asked for, and keeps its queue whether its processes run or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from assay_serving import metrics
from assay_serving.description import Description
from assay_serving.engine_host import Engine
from assay_serving.engine_ports import EngineView, ModelEvents
from assay_serving.residency import Running, make_room
from assay_serving.runtime import Runtime
from assay_serving.settings import ServingSettings


class Engines:
    """Engines by id; `Residency` of each of them.

    Args:
        settings: Limits.
        runtime: Where engines of ours run.
        endpoints: The runtime of external endpoints.
        events: Told what engines do.
        clock: Monotonic seconds, for leases and least-recently-used.
    """

    def __init__(
        self,
        settings: ServingSettings,
        runtime: Runtime,
        endpoints: Runtime,
        events: ModelEvents,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._runtime = runtime
        self._endpoints = endpoints
        self._events = events
        self._clock = clock
        self._engines: dict[str, Engine] = {}
        self._starting = asyncio.Lock()
        metrics.ENGINES.set_function(lambda: len(self._running()))
        metrics.LEASES.set_function(lambda: self._sum(lambda e: len(e.book.held())))
        metrics.QUEUED.set_function(lambda: self._sum(lambda e: e.book.queued))
        metrics.IN_FLIGHT.set_function(lambda: self._sum(lambda e: e.limit.used))
        metrics.WAITING.set_function(lambda: self._sum(lambda e: e.limit.waiting))

    def get(self, engine_id: str) -> Engine | None:
        """An engine that was asked for before, running or not."""
        return self._engines.get(engine_id)

    def of(self, description: Description) -> Engine:
        """The engine of a description."""
        engine = self._engines.get(description.engine_id)
        if engine is None:
            spec = description.spec
            engine = Engine(
                description.engine_id,
                spec,
                runtime=self._endpoints if spec.external else self._runtime,
                events=self._events,
                residency=self,
                max_in_flight=self._settings.max_in_flight,
                memory_bytes=description.memory_bytes,
                start_seconds=self._settings.start_seconds,
                clock=self._clock,
            )
            self._engines[engine.id] = engine
        return engine

    def wake(self) -> None:
        """Leases have changed; every engine looks at its queue again."""
        for engine in self._engines.values():
            engine.changed()

    async def close(self) -> None:
        """Stop serving queues; generations in flight go on."""
        await asyncio.gather(*(engine.close() for engine in self._engines.values()))

    @asynccontextmanager
    async def room_for(self, engine: EngineView) -> AsyncIterator[None]:
        """Wait for room; the idle engines that were used longest ago end first.

        One engine starts at a time: two starts beside each other take longer than in turn. An
        external endpoint takes no room. For an engine that nobody waits for any more none is made.
        """
        if engine.spec.external:
            yield
            return
        async with self._starting:
            while engine.book.queued:
                ended = self._make_room(engine)
                if ended is None:
                    # Leases end by release or by time; neither needs more than a look now and then.
                    await asyncio.sleep(0.5)
                elif ended:
                    # One by one: while it ends, another may be asked for again.
                    evicted = self._engines[ended[0].engine_id]
                    await evicted.end("evicted", unless_used=True)
                else:
                    break
            yield

    def _make_room(self, engine: EngineView) -> Sequence[Running] | None:
        others = [
            Running(each.id, each.memory_bytes, each.last_used, idle=each.book.idle)
            for each in self._running(but=engine)
        ]
        return make_room(engine.memory_bytes, others, self._settings.limits)

    def _running(self, but: EngineView | None = None) -> list[Engine]:
        """Engines of ours that run: endpoints take no room here."""
        engines = self._engines.values()
        return [e for e in engines if e.running and e is not but and not e.spec.external]

    def _sum(self, of: Callable[[Engine], int]) -> int:
        return sum(of(engine) for engine in self._engines.values())
