"""Turns at scarce resources of the peers: a compression device, an engine.

A resource has a number of places. Whoever asks gets a place, or waits in line: the higher priority
goes first, and among equals the one that asked first. What is held and who waits is in the
database, so the line is one for all replicas and outlives a `kill -9` of any of them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from assay_coordinator.store.tables import TURNS
from assay_core.resources.locks import lock


@dataclass(frozen=True)
class Ticket:
    """A wish for one place at a resource; the same wish is the same ticket."""

    resource: str
    study_id: str
    owner: str
    priority: int = 0


class TurnStore:
    """Tickets, on SQLite or Postgres; each method is one transaction."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    async def ask(self, ticket: Ticket, places: int) -> bool:
        """Whether the ticket has a place; takes its stand in line when first asked.

        A place that became free goes to the first in line, whoever asks: so nobody waits for one
        that is first and whose process is dead.
        """
        return await asyncio.to_thread(self._ask, ticket, places)

    async def holds(self, ticket: Ticket) -> bool:
        """Whether the ticket has a place already, from before a crash."""
        return await asyncio.to_thread(self._holds, ticket)

    async def give_back(self, ticket: Ticket) -> None:
        """Leave the place, or the line."""
        await asyncio.to_thread(self._execute, sa.delete(TURNS).where(*_mine(ticket)))

    async def give_back_all(self, study_id: str) -> None:
        """Leave every place and line that a study stands in."""
        statement = sa.delete(TURNS).where(TURNS.c.study_id == study_id)
        await asyncio.to_thread(self._execute, statement)

    def _ask(self, ticket: Ticket, places: int) -> bool:
        insert = self._insert().values(
            resource=ticket.resource,
            study_id=ticket.study_id,
            owner=ticket.owner,
            priority=ticket.priority,
            granted=False,
        )
        c = TURNS.c
        line = (
            sa.select(c.sequence, c.study_id, c.owner, c.granted)
            .where(c.resource == ticket.resource)
            .order_by(c.granted.desc(), c.priority.desc(), c.sequence)
        )
        with self._engine.begin() as connection:
            # One at a time decides; on SQLite the insert, a write, sees to that.
            lock(connection, f"{TURNS.name}/{ticket.resource}")
            connection.execute(insert.on_conflict_do_nothing())
            rows = connection.execute(line).all()
            held = sum(row.granted for row in rows)
            served = rows[: max(held, places)]
            fresh = [row.sequence for row in served if not row.granted]
            if fresh:
                grant = sa.update(TURNS).where(c.sequence.in_(fresh)).values(granted=True)
                connection.execute(grant)
        mine = (ticket.study_id, ticket.owner)
        return any((row.study_id, row.owner) == mine for row in served)

    def _insert(self) -> sqlite.Insert | postgresql.Insert:
        if self._engine.dialect.name == "postgresql":
            return postgresql.insert(TURNS)
        return sqlite.insert(TURNS)

    def _holds(self, ticket: Ticket) -> bool:
        statement = sa.select(TURNS.c.granted).where(*_mine(ticket))
        with self._engine.connect() as connection:
            row = connection.execute(statement).first()
        return row is not None and bool(row.granted)

    def _execute(self, statement: sa.Delete) -> None:
        with self._engine.begin() as connection:
            connection.execute(statement)


def _mine(ticket: Ticket) -> tuple[sa.ColumnElement[bool], ...]:
    c = TURNS.c
    return (
        c.resource == ticket.resource,
        c.study_id == ticket.study_id,
        c.owner == ticket.owner,
    )
