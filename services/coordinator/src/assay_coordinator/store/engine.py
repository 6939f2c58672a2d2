"""Database engine and migrations of the coordinator's own tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from assay_coordinator.store import tables
from assay_core.errors import FailedPrecondition
from assay_core.resources.locks import lock


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


def migrate(engine: sa.Engine) -> None:
    """Bring the tables to the newest version, in one transaction; replicas queue for it.

    Raises:
        FailedPrecondition: If the database was written by a newer version of Assay.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        lock(connection, tables.VERSION_TABLE)
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise FailedPrecondition(
                "the coordinator's tables are of a version that this build does not know",
                reason="SCHEMA_TOO_NEW",
                remedy="run the newer version, or restore a backup from before the upgrade",
            ) from error
