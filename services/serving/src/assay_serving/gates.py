"""Asyncio gates: generation against swaps, a bound on work in flight, and a pace."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class SwapGate:
    """Many may generate at once; a swap is alone. A waiting swap goes before later generations.

    No request may straddle a swap: its tokens would come from two sets of weights.
    """

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._shared = 0
        self._exclusive = False
        self._waiting = 0

    @property
    def in_use(self) -> int:
        """How many generations are inside."""
        return self._shared

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Hold the gate together with other generations."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._exclusive and not self._waiting)
            self._shared += 1
        try:
            yield
        finally:
            self._shared -= 1
            await asyncio.shield(self._notify())

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold the gate alone, after the generations that are inside have left."""
        self._waiting += 1
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._exclusive and not self._shared)
                self._exclusive = True
        finally:
            self._waiting -= 1
            if not self._exclusive:
                await asyncio.shield(self._notify())
        try:
            yield
        finally:
            self._exclusive = False
            await asyncio.shield(self._notify())

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class Permit:
    """Room for some completions, given back bit by bit as they finish, or all at once."""

    def __init__(self, limit: InFlightLimit, weight: int) -> None:
        self._limit = limit
        self._weight = weight

    def shrink(self, left: int) -> None:
        """Keep room for at most `left` completions."""
        keep = min(self._weight, left)
        freed, self._weight = self._weight - keep, keep
        if freed:
            self._limit.give_back(freed)

    def release(self) -> None:
        """Give all of it back. Idempotent."""
        self.shrink(0)

    def release_after(self, _task: asyncio.Task[None]) -> None:
        """`release` as a task's done callback."""
        self.release()


class InFlightLimit:
    """At most `capacity` completions in flight; callers wait in the order they came.

    A batch larger than the capacity is let in alone, so that it is slow and never stuck. The caller
    does not read further messages while it waits, so HTTP/2 flow control carries the pressure on to
    the client.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._used = 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def used(self) -> int:
        """Completions in flight now."""
        return self._used

    @property
    def free(self) -> int:
        """Completions that may enter now."""
        return 0 if self._queue else self.capacity - self._used

    @property
    def waiting(self) -> int:
        """Batches that wait for room."""
        return len(self._queue)

    async def acquire(self, amount: int) -> Permit:
        """Wait for room for `amount` completions, or for all there is."""
        weight = min(amount, self.capacity)
        if not self._queue and self._used + weight <= self.capacity:
            self._used += weight
            return Permit(self, weight)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (weight, turn)
        self._queue.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(weight)
            else:
                self._queue.remove(entry)
                self._admit()
            raise
        return Permit(self, weight)

    def give_back(self, weight: int) -> None:
        """Free room; waiting callers enter in order."""
        self._used -= weight
        self._admit()

    def _admit(self) -> None:
        while self._queue and self._used + self._queue[0][0] <= self.capacity:
            weight, turn = self._queue.popleft()
            self._used += weight
            turn.set_result(None)


class Pace:
    """Turns at an even pace, in the order they were asked for.

    Args:
        per_minute: Turns a minute; None means that nobody waits.
        clock: Seconds that never go back.
    """

    def __init__(
        self, per_minute: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._clock = clock
        self._next = clock()

    async def turn(self) -> None:
        """Wait for the next turn."""
        now = self._clock()
        mine = max(self._next, now)
        self._next = mine + self._interval
        if mine > now:
            await asyncio.sleep(mine - now)
