"""The exception classes, one per canonical gRPC code that Assay raises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import grpc


@dataclass(frozen=True)
class FieldViolation:
    """One broken field of a request: its path (`recipe.gptq.bits`) and what is wrong with it."""

    field: str
    description: str


class AssayError(Exception):
    """A failure with a canonical code, a machine-readable reason and a remedy.

    Attributes:
        code: Canonical gRPC status code of the class.
        reason: UPPER_SNAKE identifier that programs switch on.
        message: What is wrong, in one sentence, without request content.
        field: Path of the request field at fault, if one is.
        remedy: What the caller can do about it.
        metadata: Further machine-readable facts (ids, states, limits); the keys `remedy` and
            `field` are taken.
        retry_after: Seconds after which a retry may succeed; None when a retry is pointless.
        resource: Name of the resource concerned, `<type>/<id>`.
        violations: Every broken field; holds `field` too when that is set.
        remote: Whether another service raised it and a call of ours brought it here.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN
    default_reason: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        field: str | None = None,
        remedy: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        resource: str | None = None,
        violations: Sequence[FieldViolation] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.remedy = remedy
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after
        self.resource = resource
        self.remote = False
        if field is not None and not violations:
            violations = (FieldViolation(field, self.text),)
        self.violations = tuple(violations)
        self.field = field if field is not None else next((v.field for v in violations), None)

    @classmethod
    def of(
        cls,
        field: str,
        problem: str,
        *,
        remedy: str | None = None,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Self:
        """Builds the error of one field: `InvalidArgument.of("recipe.gptq.bits", "is 5")`."""
        return cls(
            f"{field} {problem}", field=field, remedy=remedy, reason=reason, metadata=metadata
        )

    @property
    def text(self) -> str:
        """Message and remedy in one line, as people read it."""
        return f"{self.message}: {self.remedy}" if self.remedy else self.message

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"{type(self).__name__}(reason={self.reason!r}, message={self.message!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AssayError):
            return NotImplemented
        return to_document(self) == to_document(other)

    # Exceptions are hashed by identity (contextlib, traceback); equality is for tests and stores.
    __hash__ = Exception.__hash__


class InvalidArgument(AssayError):
    """The request is wrong whatever the state of the system."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    default_reason = "INVALID_ARGUMENT"


class NotFound(AssayError):
    """The named thing does not exist, or not for this caller."""

    code = grpc.StatusCode.NOT_FOUND
    default_reason = "NOT_FOUND"


class AlreadyExists(AssayError):
    """The id is taken by something else."""

    code = grpc.StatusCode.ALREADY_EXISTS
    default_reason = "ALREADY_EXISTS"


class FailedPrecondition(AssayError):
    """The system is not in the state that the request needs."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    default_reason = "FAILED_PRECONDITION"


class OutOfRange(AssayError):
    """A position lies past the end of what exists."""

    code = grpc.StatusCode.OUT_OF_RANGE
    default_reason = "OUT_OF_RANGE"


class ResourceExhausted(AssayError):
    """A quota, a queue or memory is full; `resource` names which."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    default_reason = "RESOURCE_EXHAUSTED"


class Aborted(AssayError):
    """A concurrent change won; read again and retry the whole operation."""

    code = grpc.StatusCode.ABORTED
    default_reason = "ABORTED"


class Unavailable(AssayError):
    """A peer or this service cannot answer now; a retry with backoff is safe."""

    code = grpc.StatusCode.UNAVAILABLE
    default_reason = "UNAVAILABLE"


class Unimplemented(AssayError):
    """The contract has it, this build does not; the message says why."""

    code = grpc.StatusCode.UNIMPLEMENTED
    default_reason = "UNIMPLEMENTED"


class PermissionDenied(AssayError):
    """The caller is known and may not do this."""

    code = grpc.StatusCode.PERMISSION_DENIED
    default_reason = "PERMISSION_DENIED"


class Unauthenticated(AssayError):
    """The caller is not known."""

    code = grpc.StatusCode.UNAUTHENTICATED
    default_reason = "UNAUTHENTICATED"


class DataLoss(AssayError):
    """Stored data does not match its digest, or cannot be read."""

    code = grpc.StatusCode.DATA_LOSS
    default_reason = "DATA_LOSS"


class DeadlineExceeded(AssayError):
    """The deadline passed before the answer."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    default_reason = "DEADLINE_EXCEEDED"


class Cancelled(AssayError):
    """Someone cancelled the operation."""

    code = grpc.StatusCode.CANCELLED
    default_reason = "CANCELLED"


class Internal(AssayError):
    """A defect of ours; carries a request id and nothing else."""

    code = grpc.StatusCode.INTERNAL
    default_reason = "INTERNAL"


_CLASSES: dict[grpc.StatusCode, type[AssayError]] = {
    cls.code: cls
    for cls in (
        InvalidArgument,
        NotFound,
        AlreadyExists,
        FailedPrecondition,
        OutOfRange,
        ResourceExhausted,
        Aborted,
        Unavailable,
        Unimplemented,
        PermissionDenied,
        Unauthenticated,
        DataLoss,
        DeadlineExceeded,
        Cancelled,
        Internal,
    )
}


def error_class(code: grpc.StatusCode) -> type[AssayError]:
    """The class that carries `code`; the base class for codes Assay never raises."""
    return _CLASSES.get(code, AssayError)


def to_document(error: AssayError) -> dict[str, Any]:
    """The error as a JSON document, for databases and run records."""
    return {
        "code": error.code.name,
        "reason": error.reason,
        "message": error.message,
        "field": error.field,
        "remedy": error.remedy,
        "metadata": error.metadata,
        "retry_after": error.retry_after,
        "resource": error.resource,
        "violations": [[v.field, v.description] for v in error.violations],
    }


def from_document(document: Mapping[str, Any]) -> AssayError:
    """Inverse of `to_document`."""
    cls = error_class(grpc.StatusCode[document["code"]])
    return cls(
        document["message"],
        reason=document.get("reason"),
        field=document.get("field"),
        remedy=document.get("remedy"),
        metadata=document.get("metadata"),
        retry_after=document.get("retry_after"),
        resource=document.get("resource"),
        violations=[FieldViolation(*pair) for pair in document.get("violations", ())],
    )
