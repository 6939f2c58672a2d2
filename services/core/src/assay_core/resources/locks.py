"""A lock by name, held to the end of a transaction."""

from __future__ import annotations

import zlib

from sqlalchemy import Connection, text


def lock(connection: Connection, name: str) -> None:
    """Waits until no other transaction on Postgres holds the lock of this name, and holds it.

    Does nothing on SQLite, where a write locks the whole database.
    """
    if connection.dialect.name == "postgresql":
        key = zlib.crc32(name.encode())
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
