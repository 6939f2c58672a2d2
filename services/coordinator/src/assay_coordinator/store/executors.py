"""Replicas that are alive, by the row that each renews: who is silent is dead.

The clock is the database's, so that replicas need not agree on the time. An `epoch` counts those
that have had an id: one that was taken for dead, or whose id another process took, renews nothing
from then on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from assay_coordinator.store.tables import EXECUTORS

_NOW = sa.func.extract("epoch", sa.func.clock_timestamp())
_c = EXECUTORS.c


class ExecutorStore:
    """The rows, on Postgres; SQLite has one process and needs none. Methods block."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def join(self, executor_id: str, ttl_seconds: float) -> int:
        """Be alive under this id; waits for a takeover of it that is going on.

        Returns:
            The epoch to renew with.
        """
        end = _NOW + ttl_seconds
        insert = postgresql.insert(EXECUTORS).values(
            executor_id=executor_id, epoch=1, expires_at=end
        )
        statement = insert.on_conflict_do_update(
            index_elements=["executor_id"], set_={"epoch": _c.epoch + 1, "expires_at": end}
        ).returning(_c.epoch)
        with self._engine.begin() as connection:
            return int(connection.execute(statement).scalar_one())

    def renew(self, executor_id: str, epoch: int, ttl_seconds: float) -> bool:
        """Stay alive; False if the id was taken over or taken by another process."""
        statement = (
            sa.update(EXECUTORS)
            .where(_c.executor_id == executor_id, _c.epoch == epoch)
            .values(expires_at=_NOW + ttl_seconds)
        )
        with self._engine.begin() as connection:
            return connection.execute(statement).rowcount == 1

    @contextmanager
    def dead(self, but: str) -> Iterator[list[str]]:
        """Ids whose time ran out, locked during the block and buried at its end.

        Each is given to one replica only. One that comes back waits in `join` until the block ends.
        If the block raises, they are as dead as before.
        """
        found = (
            sa.select(_c.executor_id)
            .where(_c.expires_at < _NOW, _c.executor_id != but)
            .with_for_update(skip_locked=True)
        )
        with self._engine.begin() as connection:
            ids = list(connection.execute(found).scalars())
            yield ids
            # Out of reach of their processes, and of the next burial until one joins again.
            bury = sa.update(EXECUTORS).where(_c.executor_id.in_(ids))
            connection.execute(bury.values(epoch=_c.epoch + 1, expires_at=math.inf))
