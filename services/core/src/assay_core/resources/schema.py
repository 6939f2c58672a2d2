"""The table of a resource store and its migrations.

Services own small schemas of one table each, so the list of migrations lives here, applied in
order under a lock, instead of an Alembic environment per service.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from assay_core.errors import FailedPrecondition
from assay_core.resources.locks import lock

_JSON = JSON().with_variant(JSONB(), "postgresql")
_NULLABLE_JSON = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

Migration = Callable[[Connection, str], None]


def resource_table(name: str) -> Table:
    """The table as this version of the code reads and writes it. Times are Unix microseconds."""
    return Table(
        name,
        MetaData(),
        Column("id", Text, primary_key=True),
        Column("project", Text, nullable=False),
        # NULL where the creator gave none: NULLs are distinct, so the constraint lets them be.
        Column("request_id", Text, nullable=True),
        Column("fingerprint", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("spec", _JSON, nullable=False),
        Column("status", _JSON, nullable=False),
        Column("progress", _JSON, nullable=False),
        Column("error", _NULLABLE_JSON, nullable=True),
        Column("version", Integer, nullable=False),
        Column("create_time", BigInteger, nullable=False),
        Column("update_time", BigInteger, nullable=False),
        UniqueConstraint("project", "request_id", name=f"{name}_request"),
        Index(f"{name}_by_time", "project", "create_time"),
    )


def _create_table(connection: Connection, name: str) -> None:
    resource_table(name).create(connection)


# Append only: the position is the version. A change of `resource_table` needs a new entry here,
# and then the first entry must keep building the table of its own time.
MIGRATIONS: tuple[Migration, ...] = (_create_table,)


def migrate(connection: Connection, name: str) -> None:
    """Brings the table `name` to the newest version, inside the caller's transaction.

    Raises:
        FailedPrecondition: If the database was written by a newer version of Assay.
    """
    lock(connection, f"assay_schema.{name}")
    versions = Table(
        "assay_schema",
        MetaData(),
        Column("name", Text, primary_key=True),
        Column("version", Integer, nullable=False),
    )
    versions.create(connection, checkfirst=True)
    found = connection.execute(
        select(versions.c.version).where(versions.c.name == name)
    ).scalar_one_or_none()
    current = found or 0
    if current > len(MIGRATIONS):
        raise FailedPrecondition(
            f"table {name} has schema version {current}, this build knows {len(MIGRATIONS)}",
            reason="SCHEMA_TOO_NEW",
            remedy="run the newer version, or restore a backup from before the upgrade",
        )
    for migration in MIGRATIONS[current:]:
        migration(connection, name)
    if found is None:
        connection.execute(insert(versions).values(name=name, version=len(MIGRATIONS)))
    elif current < len(MIGRATIONS):
        connection.execute(
            update(versions).where(versions.c.name == name).values(version=len(MIGRATIONS))
        )
