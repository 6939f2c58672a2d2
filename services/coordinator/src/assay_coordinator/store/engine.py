"""Database engine and migrations of the coordinator's own tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from assay_coordinator.store import tables

Migration = Callable[[sa.Connection], None]


def create_engine(url: str) -> sa.Engine:
    """Engine of a SQLite file (its folder is made) or of a Postgres database."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
        return sa.create_engine(parsed, pool_pre_ping=True, hide_parameters=True)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(parsed, hide_parameters=True)
    sa.event.listen(engine, "connect", _configure_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    """WAL lets readers and the writer work at once; the timeout waits for another writer."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.close()


def _first_tables(connection: sa.Connection) -> None:
    tables.METADATA.create_all(connection)


# Append only: the position in this list is the schema version a database is at.
MIGRATIONS: tuple[Migration, ...] = (_first_tables,)


def migrate(engine: sa.Engine) -> int:
    """Bring the tables to the newest schema version; returns it."""
    with engine.begin() as connection:
        tables.SCHEMA_VERSION.create(connection, checkfirst=True)
        done = connection.execute(sa.select(sa.func.max(tables.SCHEMA_VERSION.c.version))).scalar()
        for version, migration in enumerate(MIGRATIONS, start=1):
            if version > (done or 0):
                migration(connection)
                connection.execute(sa.insert(tables.SCHEMA_VERSION).values(version=version))
    return len(MIGRATIONS)
