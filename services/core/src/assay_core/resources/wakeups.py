"""In-process wake-ups: a watcher hears of a change at once, not at its next poll."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Wakeups:
    """Tells watchers of this process that a resource changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]]
        self._listeners = defaultdict(set)

    @contextmanager
    def listening(self, resource_id: str) -> Iterator[asyncio.Event]:
        """An event of the current loop that `wake` sets while the context is open."""
        entry = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._listeners[resource_id].add(entry)
        try:
            yield entry[1]
        finally:
            with self._lock:
                self._listeners[resource_id].discard(entry)
                if not self._listeners[resource_id]:
                    del self._listeners[resource_id]

    def wake(self, resource_id: str) -> None:
        """Sets every event that listens to the resource, from any thread."""
        with self._lock:
            listeners = list(self._listeners.get(resource_id, ()))
        for loop, woken in listeners:
            if not loop.is_closed():
                loop.call_soon_threadsafe(woken.set)
