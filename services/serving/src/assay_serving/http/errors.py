"""Errors in the shape of the OpenAI API: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import math
from typing import Any

import grpc

from assay_core.errors import AssayError

_CODE = grpc.StatusCode
_STATUS = {
    _CODE.INVALID_ARGUMENT: 400,
    _CODE.OUT_OF_RANGE: 400,
    _CODE.UNAUTHENTICATED: 401,
    _CODE.PERMISSION_DENIED: 403,
    _CODE.NOT_FOUND: 404,
    _CODE.ALREADY_EXISTS: 409,
    _CODE.ABORTED: 409,
    _CODE.FAILED_PRECONDITION: 503,
    _CODE.RESOURCE_EXHAUSTED: 429,
    _CODE.CANCELLED: 499,
    _CODE.UNIMPLEMENTED: 501,
    _CODE.UNAVAILABLE: 503,
    _CODE.DEADLINE_EXCEEDED: 504,
}
_CODES = {
    "OVERLENGTH": "context_length_exceeded",
    "TOKEN_MISSING": "invalid_api_key",
    "TOKEN_UNKNOWN": "invalid_api_key",
    "MODEL_NOT_FOUND": "model_not_found",
}


def status_of(error: AssayError) -> int:
    """HTTP status of an error. A model that is not resident is 503: it may be again."""
    return _STATUS.get(error.code, 500)


def body_of(error: AssayError) -> dict[str, Any]:
    """The JSON body of an error."""
    status = status_of(error)
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": error.text,
            "type": "rate_limit_error" if status == 429 else kind,
            "param": error.field,
            "code": _CODES.get(error.reason, error.reason.lower()),
        }
    }


def headers_of(error: AssayError) -> dict[str, str]:
    """`Retry-After` where a retry may succeed; the scheme where a token is missing."""
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after))
    if status_of(error) == 401:
        headers["www-authenticate"] = "Bearer"
    return headers
