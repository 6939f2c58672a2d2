"""What the failure of one completion is, as an error with its canonical code."""

from __future__ import annotations

from assay_core.errors import (
    AssayError,
    FailedPrecondition,
    InvalidArgument,
    OutOfRange,
    Unavailable,
)
from assay_serving.domain import Failure, FailureKind


def item_error(failure: Failure) -> AssayError:
    """The error of one item, with its canonical code."""
    if failure.kind is FailureKind.OVERLENGTH:
        return OutOfRange.of(
            failure.field or "prompt", _problem(failure), remedy=failure.remedy, reason="OVERLENGTH"
        )
    if failure.kind is FailureKind.INVALID_ITEM:
        return InvalidArgument.of(
            failure.field or "prompt",
            _problem(failure),
            remedy=failure.remedy,
            reason="INVALID_ITEM",
        )
    if failure.kind is FailureKind.ENDPOINT_REFUSED:
        return FailedPrecondition(failure.message, reason=failure.kind.value, remedy=failure.remedy)
    return Unavailable(
        failure.message,
        reason=failure.kind.value,
        remedy=failure.remedy or "send the item again",
        retry_after=1.0,
    )


def _problem(failure: Failure) -> str:
    return failure.message.removeprefix(f"{failure.field} ")
