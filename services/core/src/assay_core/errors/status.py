"""AssayError to google.rpc.Status and back (google.rpc error details, AIP-193).

| attribute | detail |
|---|---|
| reason, metadata, remedy | ErrorInfo, domain `assay`; the remedy is the metadata key `remedy` |
| violations | BadRequest, or QuotaFailure for RESOURCE_EXHAUSTED |
| retry_after | RetryInfo |
| resource | ResourceInfo |

Trailers are headers: gRPC refuses more than 8 KiB of them and the caller would see a bare code.
The message travels percent-encoded (up to three times its bytes) and the status base64-encoded,
so text is cut and lists end where the room given to them here is used up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, cast

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from assay_core.errors.model import (
    AssayError,
    FieldViolation,
    ResourceExhausted,
    Unavailable,
    error_class,
)

DOMAIN = "assay"
DETAILS_KEY = "grpc-status-details-bin"

_REMEDY = "remedy"
_FIELD = "field"
_MESSAGE_BYTES = 700
_TEXT_BYTES = 300
_METADATA_BYTES = 1000
_VIOLATIONS_BYTES = 1200
DetailT = TypeVar("DetailT", bound=Message)
_CODES = {code.value[0]: code for code in grpc.StatusCode}


def to_status(error: AssayError) -> status_pb2.Status:
    """Converts to the rich status that travels in the call's trailers."""
    status = status_pb2.Status(code=error.code.value[0], message=_text(error))
    metadata: dict[str, str] = {}
    if error.remedy is not None:
        metadata[_REMEDY] = error.remedy
    if error.field is not None:
        metadata[_FIELD] = error.field
    metadata |= error.metadata
    _pack(
        status,
        error_details_pb2.ErrorInfo(
            reason=_cut(error.reason),
            domain=DOMAIN,
            metadata=dict(_within(metadata.items(), _METADATA_BYTES)),
        ),
    )
    if error.violations:
        _pack(status, _violations_detail(error))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(round(error.retry_after * 1e9))
        _pack(status, error_details_pb2.RetryInfo(retry_delay=delay))
    if error.resource is not None:
        kind, _, name = error.resource.rpartition("/")
        _pack(
            status,
            error_details_pb2.ResourceInfo(resource_type=_cut(kind), resource_name=_cut(name)),
        )
    return status


def from_status(status: status_pb2.Status) -> AssayError:
    """Inverse of `to_status`; also understands statuses of other services."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    reason: str | None = None
    metadata: dict[str, str] = {}
    violations: list[FieldViolation] = []
    retry_after: float | None = None
    resource: str | None = None
    for detail in status.details:
        if (info := _unpack(detail, error_details_pb2.ErrorInfo())) is not None:
            reason, metadata = info.reason, dict(info.metadata)
        elif (bad := _unpack(detail, error_details_pb2.BadRequest())) is not None:
            violations += [FieldViolation(v.field, v.description) for v in bad.field_violations]
        elif (quota := _unpack(detail, error_details_pb2.QuotaFailure())) is not None:
            violations += [FieldViolation(v.subject, v.description) for v in quota.violations]
        elif (retry := _unpack(detail, error_details_pb2.RetryInfo())) is not None:
            retry_after = retry.retry_delay.ToNanoseconds() / 1e9
        elif (about := _unpack(detail, error_details_pb2.ResourceInfo())) is not None:
            kind, name = about.resource_type, about.resource_name
            resource = f"{kind}/{name}" if kind else name
    remedy = metadata.pop(_REMEDY, None)
    message = status.message
    if remedy is not None:
        message = message.removesuffix(f": {remedy}")
    return error_class(code)(
        message,
        reason=reason,
        field=metadata.pop(_FIELD, None),
        remedy=remedy,
        metadata=metadata,
        retry_after=retry_after,
        resource=resource,
        violations=violations,
    )


# What grpc.aio says, with INTERNAL, of a call whose peer was killed while it ran.
_CONNECTION_BROKE = "Internal error from Core"


def from_rpc_error(error: grpc.RpcError) -> AssayError:
    """Reads the AssayError out of a failed call (`grpc.aio.AioRpcError` or a sync `grpc.Call`)."""
    failure = _from_trailers(error)
    if failure is None and error.details() == _CONNECTION_BROKE:
        failure = Unavailable("the peer went away during the call", reason="CONNECTION_LOST")
    if failure is None:
        failure = error_class(error.code())(error.details() or error.code().name)
    failure.remote = True
    return failure


def _from_trailers(error: grpc.RpcError) -> AssayError | None:
    trailers: Iterable[tuple[str, str | bytes]] = cast(Any, error.trailing_metadata()) or ()
    for key, value in trailers:
        if key == DETAILS_KEY:
            status = status_pb2.Status()
            try:
                status.ParseFromString(value)
            except DecodeError:
                return None
            if _CODES.get(status.code) == error.code():
                return from_status(status)
    return None


def _violations_detail(error: AssayError) -> Message:
    shown = _within(((v.field, v.description) for v in error.violations), _VIOLATIONS_BYTES)
    detail: Message
    if isinstance(error, ResourceExhausted):
        detail = error_details_pb2.QuotaFailure(
            violations=[
                error_details_pb2.QuotaFailure.Violation(subject=subject, description=problem)
                for subject, problem in shown
            ]
        )
        return detail
    detail = error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(field=field, description=problem)
            for field, problem in shown
        ]
    )
    return detail


def _pack(status: status_pb2.Status, detail: Message) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)
    status.details.append(packed)


def _unpack(packed: any_pb2.Any, into: DetailT) -> DetailT | None:
    # Unpack compares the type URL itself and answers False for another type.
    return into if packed.Unpack(into) else None


def _text(error: AssayError) -> str:
    if not error.remedy:
        return _cut(error.message, _MESSAGE_BYTES)
    remedy = _cut(error.remedy)
    return f"{_cut(error.message, _MESSAGE_BYTES - len(remedy.encode()) - 2)}: {remedy}"


def _within(pairs: Iterable[tuple[str, str]], room: int) -> list[tuple[str, str]]:
    """The first pairs, cut, that fit into `room` bytes; at least one if there is one."""
    fitting: list[tuple[str, str]] = []
    for pair in pairs:
        key, value = _cut(pair[0]), _cut(pair[1])
        room -= len(key.encode()) + len(value.encode())
        if room < 0 and fitting:
            break
        fitting.append((key, value))
    return fitting


def _cut(text: str, limit: int = _TEXT_BYTES) -> str:
    # Lone surrogates (from undecodable file names) cannot travel in a protobuf string.
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode("utf-8")
    return data[: limit - 3].decode("utf-8", "ignore") + "…"
