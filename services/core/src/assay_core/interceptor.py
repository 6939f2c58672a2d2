"""The one server interceptor: what happens around every RPC, in this order.

1. request id and trace context, bound to logs
2. metrics, one log line and, if wanted, one span per call
3. error mapping: AssayError to a rich status, anything else to INTERNAL with the request id
4. bearer token or client certificate, scope; then a wait for the end of the server's start work
5. per message: decoding, field rules, access to the message's project

It sees every arity through coroutine handlers that read raw bytes, so a message that does not
parse is the caller's INVALID_ARGUMENT and not gRPC's INTERNAL.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from assay_core import metrics
from assay_core.auth import LOCAL, Authenticator, Principal, scope_of, set_principal
from assay_core.context import (
    REQUEST_ID_KEY,
    CallContext,
    context_from,
    set_context,
    text_metadata,
)
from assay_core.errors import (
    AssayError,
    Cancelled,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    from_rpc_error,
    to_status,
)
from assay_core.errors.status import DETAILS_KEY
from assay_core.logs import exception_facts, get_logger
from assay_core.methods import CallGate, Method
from assay_core.tls import certificate_names
from assay_core.tracing import SpanExporter
from assay_core.validation import validate

_LOG = get_logger("assay.rpc")
_PROJECT = "project"
_UNKNOWN = grpc.StatusCode.UNKNOWN
_CANCELLED = grpc.StatusCode.CANCELLED

Handler = Any  # grpc.RpcMethodHandler: its attributes are untyped callables
Context = Any  # grpc.aio.ServicerContext of whatever message types


# The stubs make it generic, the runtime class is not.
if TYPE_CHECKING:
    _Base = grpc.aio.ServerInterceptor[Any, Any]
else:
    _Base = grpc.aio.ServerInterceptor


class ShellInterceptor(_Base):
    """Wraps every handler of a server; see the module's text for the order.

    Args:
        authenticator: Identifies callers.
        gate: Holds calls until the start work is done; ends watch streams on drain.
        spans: Where spans go; None keeps them.
    """

    def __init__(
        self, authenticator: Authenticator, gate: CallGate, spans: SpanExporter | None = None
    ) -> None:
        self._authenticator = authenticator
        self._gate = gate
        self._spans = spans

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Replaces the handler by one that runs inside the shell."""
        handler = await continuation(handler_call_details)
        if handler is None:
            metrics.RPC_REQUESTS.labels("unknown", "unknown", "UNIMPLEMENTED").inc()
            return None
        return self._wrap(handler, Method.parse(handler_call_details.method))

    def _wrap(self, handler: Handler, method: Method) -> Handler:
        decode = handler.request_deserializer
        encode = handler.response_serializer

        if not handler.response_streaming:
            inner = handler.stream_unary if handler.request_streaming else handler.unary_unary

            async def unary(raw: Any, context: Context) -> Any:
                async with self._serving(method, context) as principal:
                    request = _requests(raw, decode, method, principal)
                    answer = inner(request, context)
                    if inspect.isawaitable(answer):
                        answer = await answer
                    _count(method, "sent")
                    return answer

            make = (
                grpc.stream_unary_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_unary_rpc_method_handler
            )
            return make(unary, None, encode)

        inner = handler.stream_stream if handler.request_streaming else handler.unary_stream

        async def stream(raw: Any, context: Context) -> None:
            async with self._serving(method, context) as principal:
                request = _requests(raw, decode, method, principal)
                answers = inner(request, context)
                if inspect.isawaitable(answers):
                    await answers  # The handler wrote to the context itself.
                    return
                # Closed at once when the call ends early, so that its clean-up is not left to GC.
                async with aclosing(answers):
                    async for answer in answers:
                        await context.write(answer)
                        _count(method, "sent")

        make_stream = (
            grpc.stream_stream_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_stream_rpc_method_handler
        )
        return make_stream(stream, None, encode)

    @asynccontextmanager
    async def _serving(self, method: Method, context: Context) -> AsyncIterator[Principal]:
        metadata = text_metadata(context.invocation_metadata())
        call = context_from(metadata)
        set_context(call)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=call.request_id, trace_id=call.trace_id)
        started = time.perf_counter()
        labels = (method.service, method.name)
        metrics.RPC_IN_FLIGHT.labels(*labels).inc()
        code = grpc.StatusCode.OK
        reason: dict[str, str] = {}
        try:
            with self._gate.watching(method):
                try:
                    principal = self._admit(method, metadata, context)
                    await self._gate.passed(method)
                    yield principal
                except grpc.aio.AbortError:
                    code = _status_code(context.code())
                    raise
                except (Exception, asyncio.CancelledError) as failure:
                    error = self._map(failure, call)
                    code, reason = error.code, {"reason": error.reason}
                    if isinstance(failure, asyncio.CancelledError) and error.code is _CANCELLED:
                        raise
                    await _abort(context, error, call)
        finally:
            seconds = time.perf_counter() - started
            metrics.RPC_IN_FLIGHT.labels(*labels).dec()
            metrics.RPC_REQUESTS.labels(*labels, code.name).inc()
            metrics.RPC_DURATION.labels(*labels).observe(seconds)
            if self._spans is not None and not method.is_health:
                self._spans.record(call, method, code, seconds)
            log = _LOG.debug if method.is_health else _LOG.info
            name = f"{method.service}/{method.name}"
            log("rpc", method=name, code=code.name, seconds=round(seconds, 6), **reason)

    def _admit(self, method: Method, metadata: dict[str, str], context: Context) -> Principal:
        if method.is_watch and self._gate.closed:
            raise _draining()
        if method.is_health:
            return LOCAL
        names = certificate_names(context.auth_context())
        principal = self._authenticator.authenticate(metadata, names)
        if method.is_ours:
            principal.require_scope(scope_of(method.name))
        set_principal(principal)
        structlog.contextvars.bind_contextvars(principal=principal.name)
        return principal

    def _map(self, failure: BaseException, call: CallContext) -> AssayError:
        if isinstance(failure, grpc.aio.AioRpcError):
            failure = from_rpc_error(failure)
        if isinstance(failure, AssayError):
            return _from_peer(failure) if failure.remote else failure
        if isinstance(failure, asyncio.CancelledError):
            task = asyncio.current_task()
            if task is None or not self._gate.ended(task):
                return Cancelled("the caller cancelled the call")
            task.uncancel()
            return _draining()
        _LOG.error("unexpected_error", **exception_facts(failure))
        return Internal(
            "unexpected error in this service",
            remedy=f"look for request id {call.request_id} in its logs",
            metadata={"request_id": call.request_id},
        )


def _draining() -> Unavailable:
    return Unavailable(
        "the server is draining",
        reason="DRAINING",
        remedy="watch again, another server or the next one answers",
        retry_after=1.0,
    )


def _from_peer(error: AssayError) -> AssayError:
    """What a failed call to another service means to our caller."""
    if isinstance(error, Unauthenticated | PermissionDenied):
        # The peer refused *our* token: nothing the caller could change.
        return FailedPrecondition(
            "another service refused this service's token",
            reason="PEER_REFUSED",
            remedy="ask the operator to check peer_token and the peer's tokens file",
            metadata={"peer_reason": error.reason},
        )
    return error


async def _abort(context: Context, error: AssayError, call: CallContext) -> None:
    status = to_status(error)
    trailers = (
        (DETAILS_KEY, status.SerializeToString()),
        (REQUEST_ID_KEY, call.request_id),
    )
    await context.abort(error.code, status.message, trailers)


def _requests(
    raw: Any, decode: Callable[[bytes], Any] | None, method: Method, principal: Principal
) -> Any:
    """Decoded and checked requests: one message, or an iterator for a stream of them."""

    def check(data: bytes) -> Any:
        _count(method, "received")
        message = _decode(data, decode)
        if method.is_ours and isinstance(message, Message):
            validate(message)
            if _PROJECT in message.DESCRIPTOR.fields_by_name:
                principal.require_project(getattr(message, _PROJECT))
        return message

    async def stream() -> AsyncIterator[Any]:
        async for data in raw:
            yield check(data)

    return check(raw) if isinstance(raw, bytes) else stream()


def _decode(data: bytes, decode: Callable[[bytes], Any] | None) -> Any:
    if decode is None:
        return data
    try:
        return decode(data)
    except DecodeError:
        raise InvalidArgument(
            "the message is not of the type that this method takes",
            reason="MALFORMED_MESSAGE",
            remedy="build the request from the published protos",
        ) from None


def _count(method: Method, direction: str) -> None:
    metrics.RPC_MESSAGES.labels(method.service, method.name, direction).inc()


def _status_code(code: Any) -> grpc.StatusCode:
    """Reads a context's code: aio answers with the number, sync with the enum."""
    if isinstance(code, grpc.StatusCode):
        return code
    return next((known for known in grpc.StatusCode if known.value[0] == code), _UNKNOWN)
