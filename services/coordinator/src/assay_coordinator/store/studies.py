"""Reads and writes of a study's variants, evaluations, comparisons, jobs and events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.domain.progress import EvaluationStatus, Job, VariantStatus
from assay_coordinator.store import tables
from assay_coordinator.store.engine import create_engine, migrate


@dataclass(frozen=True)
class Event:
    """Something that happened, in a sentence for people."""

    sequence: int
    at: float
    text: str


class StudyStore:
    """The coordinator's own tables, on SQLite or Postgres.

    Methods are coroutines that run their statement on a worker thread; each is one transaction.
    """

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url)
        migrate(self._engine)

    @property
    def engine(self) -> sa.Engine:
        """The database, for stores of other subjects in it."""
        return self._engine

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.to_thread(self._engine.dispose)

    # -- variants ---------------------------------------------------------------------------------

    async def put_variant(self, study_id: str, variant: VariantStatus) -> None:
        """Insert or replace the status of a variant."""
        await self._put(
            tables.VARIANTS,
            {"study_id": study_id, "key": variant.key},
            {"position": variant.position, "body": variant.model_dump(mode="json")},
        )

    async def variant(self, study_id: str, key: str) -> VariantStatus | None:
        """The status of one variant."""
        body = await self._body(tables.VARIANTS, study_id=study_id, key=key)
        return None if body is None else VariantStatus.model_validate(body)

    async def variants(self, study_id: str) -> list[VariantStatus]:
        """Variants in the order of the matrix."""
        bodies = await self._bodies(tables.VARIANTS, study_id, tables.VARIANTS.c.position)
        return [VariantStatus.model_validate(body) for body in bodies]

    # -- evaluations ------------------------------------------------------------------------------

    async def put_evaluation(self, study_id: str, evaluation: EvaluationStatus) -> None:
        """Insert or replace the status of an evaluation."""
        await self._put(
            tables.EVALUATIONS,
            {
                "study_id": study_id,
                "variant_key": evaluation.variant_key,
                "dimension": evaluation.dimension,
            },
            {"body": evaluation.model_dump(mode="json")},
        )

    async def evaluation(
        self, study_id: str, variant_key: str, dimension: str
    ) -> EvaluationStatus | None:
        """The status of one evaluation."""
        body = await self._body(
            tables.EVALUATIONS, study_id=study_id, variant_key=variant_key, dimension=dimension
        )
        return None if body is None else EvaluationStatus.model_validate(body)

    async def evaluations(self, study_id: str) -> list[EvaluationStatus]:
        """Evaluations ordered by variant and dimension."""
        columns = tables.EVALUATIONS.c
        bodies = await self._bodies(
            tables.EVALUATIONS, study_id, columns.variant_key, columns.dimension
        )
        return [EvaluationStatus.model_validate(body) for body in bodies]

    # -- comparisons ------------------------------------------------------------------------------

    async def put_comparisons(self, study_id: str, comparisons: Iterable[Comparison]) -> None:
        """Insert or replace comparisons, all or none."""
        statements = [
            self._upsert(
                tables.COMPARISONS,
                {
                    "study_id": study_id,
                    "variant_key": comparison.variant_key,
                    "dimension": comparison.dimension,
                    "scenario": comparison.scenario,
                    "parser_version": comparison.parser_version,
                },
                {"body": comparison.model_dump(mode="json")},
            )
            for comparison in comparisons
        ]
        if statements:
            await asyncio.to_thread(self._execute, statements, study_id)

    async def comparisons(self, study_id: str) -> list[Comparison]:
        """Comparisons ordered by variant, dimension, scenario and parser version."""
        c = tables.COMPARISONS.c
        bodies = await self._bodies(
            tables.COMPARISONS, study_id, c.variant_key, c.dimension, c.scenario, c.parser_version
        )
        return [Comparison.model_validate(body) for body in bodies]

    # -- jobs -------------------------------------------------------------------------------------

    async def put_job(self, study_id: str, job: Job) -> None:
        """Remember work that a cancel has to end."""
        key = {"study_id": study_id, "kind": job.kind, "id": job.id}
        await self._put(tables.JOBS, key, {"owner": job.owner})

    async def drop_job(self, study_id: str, job: Job) -> None:
        """Forget work that has ended."""
        c = tables.JOBS.c
        statement = sa.delete(tables.JOBS).where(
            c.study_id == study_id, c.kind == job.kind, c.id == job.id
        )
        await asyncio.to_thread(self._execute, [statement])

    async def jobs(self, study_id: str) -> list[Job]:
        """Work that may still be going on in peers."""
        c = tables.JOBS.c
        statement = sa.select(c.kind, c.id, c.owner).where(c.study_id == study_id)
        rows = await asyncio.to_thread(self._rows, statement)
        return [Job(kind=row.kind, id=row.id, owner=row.owner) for row in rows]

    # -- events and change ------------------------------------------------------------------------

    async def add_event(self, study_id: str, text: str) -> None:
        """Append an event."""
        values = {"study_id": study_id, "at": time.time(), "text": text}
        await asyncio.to_thread(self._execute, [sa.insert(tables.EVENTS).values(values)], study_id)

    async def events(self, study_id: str, after: int = 0) -> list[Event]:
        """Events after a sequence number, oldest first."""
        c = tables.EVENTS.c
        statement = (
            sa.select(c.sequence, c.at, c.text)
            .where(c.study_id == study_id, c.sequence > after)
            .order_by(c.sequence)
        )
        rows = await asyncio.to_thread(self._rows, statement)
        return [Event(row.sequence, row.at, row.text) for row in rows]

    async def touch(self, study_id: str) -> None:
        """Tell watchers that something changed that is not in these tables."""
        await asyncio.to_thread(self._execute, (), study_id)

    async def revision(self, study_id: str) -> int:
        """A number that grows with every change of the study."""
        c = tables.REVISIONS.c
        statement = sa.select(c.revision).where(c.study_id == study_id)
        rows = await asyncio.to_thread(self._rows, statement)
        return int(rows[0].revision) if rows else 0

    async def delete(self, study_id: str) -> None:
        """Forget everything about a study."""
        await asyncio.to_thread(self._delete, study_id)

    # -- statements -------------------------------------------------------------------------------

    async def _put(
        self, table: sa.Table, key: Mapping[str, Any], values: Mapping[str, Any]
    ) -> None:
        statement = self._upsert(table, key, values)
        await asyncio.to_thread(self._execute, [statement], key["study_id"])

    def _upsert(
        self, table: sa.Table, key: Mapping[str, Any], values: Mapping[str, Any]
    ) -> sa.Executable:
        insert = self._insert(table).values(**key, **values)
        return insert.on_conflict_do_update(index_elements=list(key), set_=dict(values))

    async def _body(self, table: sa.Table, **key: str) -> Any:
        conditions = [table.c[name] == value for name, value in key.items()]
        rows = await asyncio.to_thread(self._rows, sa.select(table.c.body).where(*conditions))
        return rows[0].body if rows else None

    async def _bodies(
        self, table: sa.Table, study_id: str, *order: sa.ColumnElement[Any]
    ) -> list[Any]:
        statement = sa.select(table.c.body).where(table.c.study_id == study_id).order_by(*order)
        return [row.body for row in await asyncio.to_thread(self._rows, statement)]

    def _insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        if self._engine.dialect.name == "postgresql":
            return postgresql.insert(table)
        return sqlite.insert(table)

    def _execute(self, statements: Iterable[sa.Executable], study_id: str | None = None) -> None:
        with self._engine.begin() as connection:
            for statement in statements:
                connection.execute(statement)
            if study_id is not None:
                bump = self._insert(tables.REVISIONS).values(study_id=study_id, revision=1)
                connection.execute(
                    bump.on_conflict_do_update(
                        index_elements=["study_id"],
                        set_={"revision": tables.REVISIONS.c.revision + 1},
                    )
                )

    def _rows(self, statement: sa.Select[Any]) -> list[sa.Row[Any]]:
        with self._engine.connect() as connection:
            return list(connection.execute(statement).all())

    def _delete(self, study_id: str) -> None:
        with self._engine.begin() as connection:
            for table in tables.PER_STUDY:
                connection.execute(sa.delete(table).where(table.c.study_id == study_id))
