"""What a worker reports: JSON lines on a pipe of their own, so that stray prints do no harm."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProgressReport(_Line):
    """How far the job is.

    Attributes:
        phase: What is going on, for people.
        completed: Layers done.
        total: Layers in all.
        eta_seconds: Estimated time to the end; None while unknown.
    """

    kind: Literal["progress"] = "progress"
    phase: str
    completed: int = 0
    total: int = 0
    eta_seconds: float | None = None


class ResultReport(_Line):
    """The job is done and published.

    Attributes:
        artifact: Digest of the artifact.
    """

    kind: Literal["result"] = "result"
    artifact: str


class ErrorReport(_Line):
    """The job failed.

    Attributes:
        error: `assay_core.errors.to_document` of the cause.
    """

    kind: Literal["error"] = "error"
    error: dict[str, Any]


class ExitReport(_Line):
    """The worker process has ended; its nursery says so.

    Attributes:
        code: Exit code; negative for a signal.
    """

    kind: Literal["exit"] = "exit"
    code: int


Report = Annotated[
    ProgressReport | ResultReport | ErrorReport | ExitReport, Field(discriminator="kind")
]
_ADAPTER: TypeAdapter[Report] = TypeAdapter(Report)


def parse_report(line: bytes) -> Report:
    """Parses one line.

    Raises:
        pydantic.ValidationError: If it is none of the reports.
    """
    return _ADAPTER.validate_json(line)


def to_line(report: Report) -> bytes:
    """One line with its newline."""
    return report.model_dump_json().encode() + b"\n"
