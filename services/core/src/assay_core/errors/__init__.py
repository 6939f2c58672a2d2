"""The one error hierarchy of Assay and its two wire forms (google.rpc status, common.v1.Error).

A message names the field or file, the value's shape and what to do; it never carries prompt or
completion text. Servicers raise these; `assay_core.server` maps them to statuses, and
`assay_core.client` maps statuses back, so the same exception type arrives at the caller.
"""

from assay_core.errors.message import from_proto, is_retryable, to_proto
from assay_core.errors.model import (
    Aborted,
    AlreadyExists,
    AssayError,
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    error_class,
    from_document,
    to_document,
)
from assay_core.errors.status import DOMAIN, from_rpc_error, from_status, to_status

__all__ = [
    "DOMAIN",
    "Aborted",
    "AlreadyExists",
    "AssayError",
    "Cancelled",
    "DataLoss",
    "DeadlineExceeded",
    "FailedPrecondition",
    "FieldViolation",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "OutOfRange",
    "PermissionDenied",
    "ResourceExhausted",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "error_class",
    "from_document",
    "from_proto",
    "from_rpc_error",
    "from_status",
    "is_retryable",
    "to_document",
    "to_proto",
    "to_status",
]
