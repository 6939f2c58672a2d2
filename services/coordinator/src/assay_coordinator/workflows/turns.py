"""Turns of studies at the peers: bounded, by priority, in the order of asking.

That a study stands in a line once is the pipeline's doing, and it is what makes turns fair. What
runs is never interrupted for another.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum

from assay_coordinator.store.turns import Ticket, TurnStore

_POLL_SECONDS = 2.0  # a place that another replica gave back


class Resource(StrEnum):
    """What there are only so many of."""

    COMPRESSION = "compression"
    ENGINE = "engine"


class Turns:
    """Hands out the places of each resource."""

    def __init__(self, store: TurnStore, places: Mapping[Resource, int]) -> None:
        self._store = store
        self._places = places
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def turn(
        self, resource: Resource, study_id: str, owner: str, priority: int
    ) -> AsyncIterator[bool]:
        """Wait for a place and hold it during the block; gives whether there was a wait.

        After a `kill -9` the same owner finds its place, or its stand in line, again.
        """
        ticket = Ticket(resource, study_id, owner, priority)
        waited = False
        try:
            if not await self._store.holds(ticket):
                waited = await self._wait(ticket)
            yield waited
        finally:
            await asyncio.shield(self._give_back(ticket))

    async def leave(self, resource: Resource, study_id: str, owner: str) -> None:
        """Give back what the owner still holds from before a crash, and needs no more."""
        await self._give_back(Ticket(resource, study_id, owner))

    async def give_back_all(self, study_id: str) -> None:
        """Give back whatever a study holds or waits for; it has ended."""
        await self._store.give_back_all(study_id)
        self._wake()

    async def _wait(self, ticket: Ticket) -> bool:
        waited = False
        while True:
            freed = self._freed
            if await self._store.ask(ticket, self._places[Resource(ticket.resource)]):
                return waited
            waited = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(freed.wait(), _POLL_SECONDS)

    async def _give_back(self, ticket: Ticket) -> None:
        await self._store.give_back(ticket)
        self._wake()

    def _wake(self) -> None:
        self._freed.set()
        self._freed = asyncio.Event()
