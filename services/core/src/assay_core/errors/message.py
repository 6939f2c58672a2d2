"""AssayError to `assay.common.v1.Error`, the form stored with a resource, and back."""

from __future__ import annotations

import grpc

from assay.common.v1 import state_pb2
from assay_core.errors.model import Aborted, AssayError, Unavailable, error_class


def is_retryable(error: AssayError) -> bool:
    """Whether the same call may succeed later without a change."""
    return error.retry_after is not None or isinstance(error, Unavailable | Aborted)


def to_proto(error: AssayError) -> state_pb2.Error:
    """Converts to the message that Get and List return."""
    return state_pb2.Error(
        code=error.code.name,
        reason=error.reason,
        message=error.message,
        field=error.field or "",
        remedy=error.remedy or "",
        retryable=is_retryable(error),
        metadata=error.metadata,
    )


def from_proto(message: state_pb2.Error) -> AssayError:
    """Inverse of `to_proto`, for clients; codes this build does not know become UNKNOWN."""
    code = getattr(grpc.StatusCode, message.code, grpc.StatusCode.UNKNOWN)
    return error_class(code)(
        message.message,
        reason=message.reason or None,
        field=message.field or None,
        remedy=message.remedy or None,
        metadata=dict(message.metadata),
    )
