"""Transactions on SQLite (WAL) or Postgres, run on worker threads for async callers."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, OperationalError

from assay_core.errors import Internal, InvalidArgument, ResourceExhausted, Unavailable

_WRITE = "assay_write"
_THREADS = 4
_BUSY_SECONDS = 30
_DISK_FULL = "53100"  # SQLSTATE of Postgres.
# A Postgres whose machine has gone says nothing: TCP alone would wait a quarter of an hour for it.
PATIENCE = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""Options of connections to Postgres (libpq's names), where the URL has none of its own."""

ResultT = TypeVar("ResultT")


class Database:
    """Runs functions of a connection, each in one transaction.

    Args:
        url: SQLAlchemy URL.
        prepare: Runs once, in a transaction of its own, before the first other one (migrations).

    Raises:
        InvalidArgument: If the URL is not one of SQLite or Postgres.
    """

    def __init__(self, url: str, prepare: Callable[[Connection], None]) -> None:
        self._engine = _engine(url)
        self._prepare = prepare
        self._prepared = False
        self._preparing = threading.Lock()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="assay-database")

    async def close(self) -> None:
        """Closes connections and worker threads."""
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._engine.dispose)

    async def read(self, work: Callable[[Connection], ResultT]) -> ResultT:
        """Runs a transaction that only reads."""
        return await self._run(work, write=False)

    async def write(self, work: Callable[[Connection], ResultT]) -> ResultT:
        """Runs a transaction that writes; on SQLite writers queue for it.

        A caller that is cancelled meanwhile leaves a whole transaction behind, or none.
        """
        return await self._run(work, write=True)

    async def _run(self, work: Callable[[Connection], ResultT], *, write: bool) -> ResultT:
        def transaction() -> ResultT:
            with self._preparing:
                if not self._prepared:
                    self._transact(self._prepare, write=True)
                    self._prepared = True
            return self._transact(work, write=write)

        return await asyncio.get_running_loop().run_in_executor(self._threads, transaction)

    def _transact(self, work: Callable[[Connection], ResultT], *, write: bool) -> ResultT:
        with _errors(), self._engine.connect() as connection:
            connection.execution_options(**{_WRITE: write})
            with connection.begin():
                return work(connection)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if _is_full(error):
            raise ResourceExhausted(
                "the disk of the database is full",
                reason="DATABASE_FULL",
                remedy="free disk space, then try again",
            ) from error
        if error.connection_invalidated or isinstance(error, OperationalError):
            raise Unavailable(
                "the database cannot be reached or is busy",
                reason="DATABASE_UNAVAILABLE",
                remedy="check database_url and the database; retry",
                retry_after=1.0,
            ) from error
        # Statements and parameters stay out of the messages: parameters are request content.
        if isinstance(error, DataError):
            raise InvalidArgument(
                "a value of the request cannot be stored",
                reason="UNSTORABLE_VALUE",
                remedy="leave NUL characters out of its texts",
            ) from error
        raise Internal("the database refused a statement", reason="DATABASE_ERROR") from error


def _is_full(error: DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code == sqlite3.SQLITE_FULL or getattr(error.orig, "sqlstate", None) == _DISK_FULL


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise _wrong_url() from None
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg", query={**PATIENCE, **parsed.query})
        return create_engine(parsed, pool_pre_ping=True, pool_size=_THREADS, hide_parameters=True)
    if parsed.get_backend_name() != "sqlite":
        raise _wrong_url()
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, connect_args={"timeout": _BUSY_SECONDS}, hide_parameters=True)

    # The driver's own transactions would begin too late and without IMMEDIATE: it is switched
    # off, and we begin ourselves. IMMEDIATE makes writers queue instead of failing half-way.
    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get(_WRITE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _wrong_url() -> InvalidArgument:
    return InvalidArgument.of(
        "database_url", "is not usable", remedy="use sqlite:///PATH or postgresql://HOST/DATABASE"
    )
