"""The resource store on SQLite (WAL) or Postgres, with an async face."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from assay_core.errors import (
    AlreadyExists,
    AssayError,
    FailedPrecondition,
    NotFound,
    from_document,
    to_document,
)
from assay_core.resources import paging
from assay_core.resources.database import Database
from assay_core.resources.filters import JsonField, compile_filter, microseconds, moment_of
from assay_core.resources.model import Draft, Page, Progress, Record, State, can_move
from assay_core.resources.schema import migrate, resource_table
from assay_core.resources.wakeups import Wakeups


def _now() -> datetime:
    return datetime.now(UTC)


class ResourceStore:
    """Resources of one kind in one table. All methods may be called from any event loop.

    Args:
        url: SQLAlchemy URL: `sqlite:///path` or `postgresql://...`.
        table: Table name, also the kind in messages: `variants`.
        fields: What callers may filter by besides the columns, by their name for it.
        poll_seconds: How often a watch looks for changes made by other processes.
        clock: Source of times.
    """

    def __init__(
        self,
        url: str,
        table: str,
        *,
        fields: Mapping[str, JsonField] | None = None,
        poll_seconds: float = 1.0,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._kind = _singular(table)
        self._table = resource_table(table)
        self._fields = dict(fields or {})
        self._poll = poll_seconds
        self._clock = clock
        self._database = Database(url, lambda connection: migrate(connection, table))
        self._wakeups = Wakeups()

    async def close(self) -> None:
        """Closes connections and worker threads."""
        await self._database.close()

    async def create(self, draft: Draft) -> tuple[Record, bool]:
        """Creates a resource, once.

        Returns:
            The record, and whether this call created it. The same `request_id` (or, without one,
            the same id) with the same fingerprint returns the record of the first call.

        Raises:
            AlreadyExists: If the request id or the id belongs to something else.
        """
        try:
            return await self._database.write(lambda connection: self._create(connection, draft))
        except _LostRace:
            # Another process inserted between our look and our insert; now it is there to find.
            return await self._database.write(lambda connection: self._create(connection, draft))

    async def get(self, resource_id: str) -> Record:
        """Reads a resource.

        Raises:
            NotFound: If there is none with this id.
        """
        return await self._database.read(lambda connection: self._get(connection, resource_id))

    async def list(
        self,
        project: str | Collection[str] | None,
        page_size: int = 0,
        page_token: str = "",
        filter: str = "",
        order_by: str = "",
    ) -> Page:
        """Lists resources of a project, of several, or (None) of all.

        Raises:
            InvalidArgument: Names the option that is wrong and what is allowed.
        """
        size = paging.page_size_of(page_size)
        order = paging.parse_order(order_by)
        condition = compile_filter(filter, self._table, self._fields)
        projects = [project] if isinstance(project, str) else project
        query = [sorted(projects) if projects is not None else None, filter, order_by]
        statement = select(self._table).order_by(*paging.order_columns(order, self._table))
        if projects is not None:
            statement = statement.where(self._table.c.project.in_(list(projects)))
        if condition is not None:
            statement = statement.where(condition)
        if page_token:
            values = paging.read_token(page_token, order, query)
            statement = statement.where(paging.after(order, values, self._table))
        statement = statement.limit(size + 1)
        rows = await self._database.read(lambda connection: list(connection.execute(statement)))
        more = len(rows) > size
        return Page(
            records=[_record(row) for row in rows[:size]],
            next_page_token=paging.make_token(order, rows[size - 1], query) if more else "",
        )

    async def every(
        self,
        project: str | Collection[str] | None,
        *,
        filter: str = "",
        order_by: str = "",
    ) -> AsyncIterator[Record]:
        """All resources that `list` would page through, each page read when it is reached."""
        token = ""
        while True:
            page = await self.list(project, paging.MAX_SIZE, token, filter, order_by)
            for record in page.records:
                yield record
            token = page.next_page_token
            if not token:
                return

    async def update(
        self,
        resource_id: str,
        *,
        state: State | None = None,
        status: Mapping[str, Any] | None = None,
        progress: Progress | Mapping[str, Any] | None = None,
        error: AssayError | None = None,
        expect: Collection[State] | None = None,
    ) -> Record:
        """Changes a resource in one transaction and wakes its watchers.

        Args:
            resource_id: Which.
            state: New state; leaving FAILED clears the error.
            status: Keys to set in the status; keys not named stay.
            progress: New progress as a whole.
            error: Why it failed.
            expect: States in which the change is right; any other leaves it untouched.

        Raises:
            NotFound: If there is none with this id.
            FailedPrecondition: If the state is not in `expect`, or may not become `state`;
                metadata `state` holds the current one.
        """
        values: dict[str, Any] = {}
        if state is not None:
            values["state"] = state.value
            values["error"] = None
        if error is not None:
            values["error"] = to_document(error)
        if progress is not None:
            whole = progress if isinstance(progress, Progress) else Progress(**progress)
            values["progress"] = asdict(whole)

        def change(connection: Connection) -> Record:
            row = self._row(connection, resource_id, lock=True)
            current = State(row.state)
            if expect is not None and current not in expect:
                raise self._conflict(resource_id, current, "does not allow this")
            if state is not None and not can_move(current, state):
                raise self._conflict(resource_id, current, f"cannot become {state}")
            if status is not None:
                values["status"] = {**row.status, **status}
            connection.execute(
                update(self._table)
                .where(self._table.c.id == resource_id)
                .values(
                    **values,
                    version=row.version + 1,
                    update_time=microseconds(self._clock()),
                )
            )
            return self._get(connection, resource_id)

        record = await self._database.write(change)
        self._wakeups.wake(resource_id)
        return record

    async def delete(self, resource_id: str) -> None:
        """Deletes a resource; its watchers end with NotFound.

        Raises:
            NotFound: If there is none with this id.
        """

        def remove(connection: Connection) -> None:
            self._row(connection, resource_id, lock=True)
            connection.execute(delete(self._table).where(self._table.c.id == resource_id))

        await self._database.write(remove)
        self._wakeups.wake(resource_id)

    async def watch(self, resource_id: str) -> AsyncGenerator[Record, None]:
        """Yields the resource now and after each change; ends after a terminal state.

        Changes in quick succession may arrive as one. Changes by this process arrive at once,
        those of other processes within `poll_seconds`.

        Raises:
            NotFound: If there is none with this id, or it is deleted meanwhile.
        """
        seen = 0
        with self._wakeups.listening(resource_id) as woken:
            while True:
                woken.clear()
                record = await self.get(resource_id)
                if record.version != seen:
                    seen = record.version
                    yield record
                    if record.is_terminal:
                        return
                try:
                    async with asyncio.timeout(self._poll):
                        await woken.wait()
                except TimeoutError:
                    continue

    # -- inside a transaction --------------------------------------------------------------------

    def _create(self, connection: Connection, draft: Draft) -> tuple[Record, bool]:
        columns = self._table.c
        if draft.request_id:
            mine = (columns.project == draft.project) & (columns.request_id == draft.request_id)
            if (row := connection.execute(select(self._table).where(mine)).first()) is not None:
                return self._repeat(row, draft, "request_id"), False
        same_id = select(self._table).where(columns.id == draft.id)
        if (row := connection.execute(same_id).first()) is not None:
            return self._repeat(row, draft, "id"), False
        now = microseconds(self._clock())
        try:
            connection.execute(
                insert(self._table).values(
                    id=draft.id,
                    project=draft.project,
                    request_id=draft.request_id or None,
                    fingerprint=draft.fingerprint,
                    state=draft.state.value,
                    spec=draft.spec,
                    status=draft.status,
                    progress=asdict(Progress()),
                    error=None,
                    version=1,
                    create_time=now,
                    update_time=now,
                )
            )
        except IntegrityError as error:
            raise _LostRace from error
        return self._get(connection, draft.id), True

    def _repeat(self, row: Row[Any], draft: Draft, field: str) -> Record:
        if row.fingerprint != draft.fingerprint or row.project != draft.project:
            raise AlreadyExists(
                f"{field} was used for another {self._kind}",
                field=field,
                reason="REQUEST_ID_REUSED" if field == "request_id" else "ID_TAKEN",
                remedy="use a new request_id for a new request",
            )
        return _record(row)

    def _get(self, connection: Connection, resource_id: str) -> Record:
        return _record(self._row(connection, resource_id))

    def _row(self, connection: Connection, resource_id: str, *, lock: bool = False) -> Row[Any]:
        statement = select(self._table).where(self._table.c.id == resource_id)
        if lock:
            statement = statement.with_for_update()
        row = connection.execute(statement).first()
        if row is None:
            raise self.absent(resource_id)
        return row

    def absent(self, resource_id: str) -> NotFound:
        """The error of a resource that is not there, or that the caller may not see."""
        return NotFound(
            f"there is no {self._kind} with this id",
            field="id",
            resource=f"{self._kind}/{resource_id}",
            remedy="list them to see what there is",
        )

    def _conflict(self, resource_id: str, current: State, problem: str) -> FailedPrecondition:
        return FailedPrecondition(
            f"the {self._kind} is {current}, which {problem}",
            reason="STATE_CONFLICT",
            resource=f"{self._kind}/{resource_id}",
            metadata={"state": current.value},
        )


def _singular(table: str) -> str:
    """`study` of `studies`, `variant` of `variants`."""
    stem = table.removesuffix("ies")
    return f"{stem}y" if stem != table else table.removesuffix("s")


class _LostRace(Exception):  # noqa: N818  (an event between two processes, caught in `create`)
    """Another process inserted the same key first."""


def _record(row: Row[Any]) -> Record:
    return Record(
        id=row.id,
        project=row.project,
        request_id=row.request_id or "",
        fingerprint=row.fingerprint,
        spec=row.spec,
        state=State(row.state),
        status=row.status,
        progress=Progress(**row.progress),
        error=from_document(row.error) if row.error is not None else None,
        version=row.version,
        create_time=moment_of(row.create_time),
        update_time=moment_of(row.update_time),
    )
