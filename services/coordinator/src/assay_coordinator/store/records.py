"""The record of a study: what was asked for, its state, and what is known at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from assay_coordinator.domain.canary import CanaryFacts, CanarySpec
from assay_coordinator.domain.comparison import GateResult
from assay_coordinator.domain.extension import Extension
from assay_coordinator.domain.study import StudySpec
from assay_core.digest import digest_of
from assay_core.errors import AssayError, NotFound
from assay_core.resources import Draft, JsonField, Record, ResourceStore, State

PAUSE = "pause"

_FIELDS = {
    "name": JsonField("spec.name"),
    "pack": JsonField("spec.pack.uri"),
    "attempt": JsonField("status.attempt", "number"),
}


class ReportFile(BaseModel):
    """A published file of a report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    uri: str
    bytes: int
    digest: str


class StudyStatus(BaseModel):
    """What changes about a study, apart from its state."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempt: int = 1
    goal: str = ""  # `pause` while a pause is being carried out
    started_at: float | None = None
    ended_at: float | None = None
    headline: str = ""
    gate: GateResult | None = None
    report: tuple[ReportFile, ...] = ()
    failures: tuple[str, ...] = ()
    extension: Extension | None = None  # set when it is another study with more rows
    canary: CanaryFacts | None = None  # of a canary, once both sides are replayed


@dataclass(frozen=True)
class StudyRecord:
    """A study as it is stored."""

    id: str
    project: str
    request_id: str
    state: State
    spec: StudySpec
    status: StudyStatus
    error: AssayError | None
    version: int
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True)
class StudyPage:
    """One page of a list."""

    records: list[StudyRecord]
    next_page_token: str


class StudyRecords:
    """Studies, or canaries, in the resource store that every service has."""

    def __init__(self, url: str, table: str = "studies") -> None:
        self._store = ResourceStore(url, table, fields=_FIELDS)

    async def close(self) -> None:
        """Close connections."""
        await self._store.close()

    async def create(
        self,
        study_id: str,
        project: str,
        request_id: str,
        spec: StudySpec,
        extension: Extension | None = None,
    ) -> tuple[StudyRecord, bool]:
        """Create a study once per request id; whether this call did it."""
        document = spec.model_dump(mode="json")
        draft = Draft(
            id=study_id,
            project=project,
            request_id=request_id,
            fingerprint=digest_of(document),
            spec=document,
            status=StudyStatus(extension=extension).model_dump(mode="json"),
        )
        record, created = await self._store.create(draft)
        return _study(record), created

    async def get(self, study_id: str) -> StudyRecord:
        """Read a study.

        Raises:
            NotFound: If there is none with this id.
        """
        return _study(await self._store.get(study_id))

    def absent(self, study_id: str) -> NotFound:
        """The error of a study that is not there, or that the caller may not see."""
        return self._store.absent(study_id)

    async def list(
        self,
        project: str | Collection[str] | None,
        *,
        page_size: int = 0,
        page_token: str = "",
        filter_text: str = "",
        order_by: str = "",
    ) -> StudyPage:
        """List studies of a project, of several, or (None) of all."""
        page = await self._store.list(project, page_size, page_token, filter_text, order_by)
        return StudyPage([_study(record) for record in page.records], page.next_page_token)

    async def every(
        self, project: str | Collection[str] | None, *, filter_text: str = ""
    ) -> AsyncIterator[StudyRecord]:
        """All studies that `list` would page through."""
        async for record in self._store.every(project, filter=filter_text):
            yield _study(record)

    async def update(
        self,
        study_id: str,
        *,
        state: State | None = None,
        expect: Collection[State] | None = None,
        error: AssayError | None = None,
        **status: Any,
    ) -> StudyRecord:
        """Change state and status fields.

        Raises:
            FailedPrecondition: If the state is not in `expect`.
        """
        values = {name: _plain(value) for name, value in status.items()}
        unknown = values.keys() - StudyStatus.model_fields.keys()
        if unknown:
            raise TypeError(f"no such status fields: {', '.join(sorted(unknown))}")
        record = await self._store.update(
            study_id, state=state, status=values, error=error, expect=expect
        )
        return _study(record)

    async def delete(self, study_id: str) -> None:
        """Delete a study."""
        await self._store.delete(study_id)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


_specs: dict[str, StudySpec] = {}
_MOST_SPECS = 4096


def _spec(study_id: str, document: Any) -> StudySpec:
    """The specification, which never changes: a list of a thousand reads each only once."""
    found = _specs.get(study_id)
    if found is None:
        if len(_specs) >= _MOST_SPECS:
            _specs.clear()
        kind = CanarySpec if "against" in document else StudySpec
        found = _specs[study_id] = kind.model_validate(document)
    return found


def _study(record: Record) -> StudyRecord:
    return StudyRecord(
        id=record.id,
        project=record.project,
        request_id=record.request_id,
        state=record.state,
        spec=_spec(record.id, record.spec),
        status=StudyStatus.model_validate(record.status),
        error=record.error,
        version=record.version,
        create_time=record.create_time,
        update_time=record.update_time,
    )
