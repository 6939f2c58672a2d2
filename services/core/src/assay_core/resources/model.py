"""Values of the resource store, and which state may follow which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from assay_core.errors import AssayError, to_proto
from assay_core.pb import common_pb2


class State(StrEnum):
    """State of a resource; the names are those of `assay.common.v1.State`."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    WAITING_FOR_MODEL = "WAITING_FOR_MODEL"

    @property
    def is_terminal(self) -> bool:
        """Whether no work goes on any more."""
        return self in TERMINAL

    def to_proto(self) -> common_pb2.State.ValueType:
        """The contract's value."""
        return common_pb2.State.Value(f"STATE_{self.name}")

    @classmethod
    def from_proto(cls, value: common_pb2.State.ValueType) -> State:
        """Inverse of `to_proto`.

        Raises:
            ValueError: For STATE_UNSPECIFIED, which is never stored.
        """
        return cls(common_pb2.State.Name(value).removeprefix("STATE_"))


TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})

_ENDS = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.CANCELLING})
# A terminal resource may only be queued again: resumed after a failure or a cancel, or redone
# because its artifact was deleted.
_MOVES: Mapping[State, frozenset[State]] = {
    State.QUEUED: _ENDS | {State.RUNNING, State.WAITING_FOR_MODEL, State.PAUSED},
    State.RUNNING: _ENDS | {State.QUEUED, State.WAITING_FOR_MODEL, State.PAUSED},
    State.WAITING_FOR_MODEL: _ENDS | {State.QUEUED, State.RUNNING, State.PAUSED},
    State.PAUSED: _ENDS | {State.QUEUED, State.RUNNING, State.WAITING_FOR_MODEL},
    State.CANCELLING: TERMINAL,
    State.SUCCEEDED: frozenset({State.QUEUED}),
    State.FAILED: frozenset({State.QUEUED}),
    State.CANCELLED: frozenset({State.QUEUED}),
}


def can_move(before: State, after: State) -> bool:
    """Whether `after` may follow `before`; staying is always allowed."""
    return before == after or after in _MOVES[before]


@dataclass(frozen=True)
class Progress:
    """How far the work is.

    Attributes:
        completed: Units finished.
        total: Units in all; 0 while unknown.
        unit: What is counted: `layers`, `completions`.
        phase: The phase in a few words, for people.
        eta_seconds: Estimated seconds to the end; None while unknown.
    """

    completed: int = 0
    total: int = 0
    unit: str = ""
    phase: str = ""
    eta_seconds: float | None = None


@dataclass(frozen=True)
class Draft:
    """A resource to create.

    Attributes:
        id: Unique id in the store, chosen by the service.
        project: Owner.
        request_id: The creator's id of the request; empty means the id alone decides.
        fingerprint: Digest of what was asked for; tells a repeat from a conflict.
        spec: What was asked for, as JSON; never changes.
        state: State to start in; SUCCEEDED for a cache hit.
        status: What is known already, as JSON.
    """

    id: str
    project: str
    request_id: str
    fingerprint: str
    spec: dict[str, Any]
    state: State = State.QUEUED
    status: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """A stored resource.

    Attributes:
        version: Grows by one with every change.
        error: Why it failed; set only when the state is FAILED.
        (others): See `Draft`.
    """

    id: str
    project: str
    request_id: str
    fingerprint: str
    spec: dict[str, Any]
    state: State
    status: dict[str, Any]
    progress: Progress
    error: AssayError | None
    version: int
    create_time: datetime
    update_time: datetime

    @property
    def is_terminal(self) -> bool:
        """Whether no work goes on any more."""
        return self.state.is_terminal


@dataclass(frozen=True)
class Page:
    """One page of a list; the token is empty on the last page."""

    records: list[Record]
    next_page_token: str


def meta_of(record: Record) -> common_pb2.ResourceMeta:
    """The facts of a record that every resource message carries."""
    progress = common_pb2.Progress(
        completed=record.progress.completed,
        total=record.progress.total,
        unit=record.progress.unit,
        phase=record.progress.phase,
    )
    if record.progress.eta_seconds is not None:
        progress.eta.FromTimedelta(timedelta(seconds=record.progress.eta_seconds))
    meta = common_pb2.ResourceMeta(
        id=record.id,
        project=record.project,
        request_id=record.request_id,
        state=record.state.to_proto(),
        progress=progress,
        error=to_proto(record.error) if record.error is not None else None,
    )
    meta.create_time.FromDatetime(record.create_time)
    meta.update_time.FromDatetime(record.update_time)
    return meta
