"""RPC methods by name, and the gate between calls and a server that starts or drains."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_HEALTH = "grpc.health.v1.Health"
_REFLECTION = "ServerReflection"
_WATCH = "Watch"


@dataclass(frozen=True)
class Method:
    """A method's full name in its parts: `assay.serving.v1.ServingService`, `Generate`."""

    service: str
    name: str

    @classmethod
    def parse(cls, path: str) -> Method:
        """Splits gRPC's `/service/method`."""
        service, _, name = path.lstrip("/").rpartition("/")
        return cls(service, name)

    @property
    def is_health(self) -> bool:
        """Whether it answers probes, which carry no token and would fill the log."""
        return self.service == _HEALTH

    @property
    def is_watch(self) -> bool:
        """Whether it streams until something changes, and so would hold up a drain."""
        return self.name.startswith(_WATCH)

    @property
    def is_ours(self) -> bool:
        """Whether field rules and projects apply."""
        return not self.is_health and not self.service.endswith(_REFLECTION)


class CallGate:
    """Holds calls until the server's start work is done, and ends watch streams when it drains.

    What is held answers from recovered state, never from what an earlier process left behind; what
    is ended lets its client reconnect elsewhere.
    """

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self._watchers: set[asyncio.Task[Any]] = set()
        self._ended: set[asyncio.Task[Any]] = set()
        self.closed = False

    def open(self) -> None:
        """Lets calls through from now on."""
        self._opened.set()

    async def passed(self, method: Method) -> None:
        """Returns once the method may run; health and reflection need no start work."""
        if method.is_ours:
            await self._opened.wait()

    @contextmanager
    def watching(self, method: Method) -> Iterator[None]:
        """Registers the current task while it serves a watch stream."""
        task = asyncio.current_task()
        if task is None or not method.is_watch:
            yield
            return
        self._watchers.add(task)
        try:
            yield
        finally:
            self._watchers.discard(task)
            self._ended.discard(task)

    def close(self) -> None:
        """Ends every watch stream with UNAVAILABLE; new ones are refused the same way."""
        self.closed = True
        for task in self._watchers:
            self._ended.add(task)
            task.cancel()

    def ended(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether `close` cancelled this task (and not the client)."""
        return task in self._ended
