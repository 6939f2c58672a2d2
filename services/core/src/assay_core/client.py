"""Calls to other services: one channel form, deadlines on every call, errors as AssayError.

```python
async with channel("127.0.0.1:7401", settings) as to_compression:
    stub = compression_pb2_grpc.CompressionServiceStub(to_compression)
    variant = await call(stub.GetVariant, request, timeout=10)
```
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, Protocol, TypeVar

import grpc
from pydantic import SecretStr

from assay_core.context import current_context, new_context
from assay_core.errors import from_rpc_error
from assay_core.limits import MAX_MESSAGE_BYTES
from assay_core.tls import PeerFiles, channel_credentials

DEFAULT_TIMEOUT_SECONDS = 30.0

ResponseT = TypeVar("ResponseT")
ResponseT_co = TypeVar("ResponseT_co", covariant=True)

# UNAVAILABLE only, and gRPC retries only until the first response arrives. Safe for every method:
# reads change nothing and creates carry a request_id. Bounded: 4 attempts, about 4 s in all.
_RETRIES = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.2s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    "loadBalancingConfig": [{"round_robin": {}}],
}


class _StreamCall(Protocol[ResponseT_co]):
    """The part of grpc.aio's stream calls that `stream` uses."""

    def __aiter__(self) -> AsyncIterator[ResponseT_co]:
        """Iterates the responses."""

    def cancel(self) -> bool:
        """Ends the call; False if it had ended."""


_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Idle watch streams stay alive through load balancers.
    ("grpc.http2.max_pings_without_data", 0),
    # gRPC's own default is two minutes: a peer that restarts would be missed for as long.
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_retries", 1),
    ("grpc.service_config", json.dumps(_RETRIES)),
)


class Peering(PeerFiles, Protocol):
    """The settings of calls to other services."""

    @property
    def peer_token(self) -> SecretStr | None:
        """Bearer token to present."""


def channel(target: str, credentials: Peering | SecretStr | str | None = None) -> AssayChannel:
    """Opens a channel to `target` (`host:port`, or any gRPC name such as `dns:///name:port`).

    Args:
        target: Where the service listens.
        credentials: Settings of the caller with its token and TLS files, or a token alone, or None
            for a server without either.

    Raises:
        FailedPrecondition: If a TLS file cannot be read; names the setting.
    """
    tls = None
    if credentials is not None and not isinstance(credentials, SecretStr | str):
        tls = channel_credentials(credentials)
        credentials = credentials.peer_token
    secret = credentials.get_secret_value() if isinstance(credentials, SecretStr) else credentials
    if tls is None:
        return AssayChannel(grpc.aio.insecure_channel(target, options=_OPTIONS), secret)
    return AssayChannel(grpc.aio.secure_channel(target, tls, options=_OPTIONS), secret)


async def call(
    method: Callable[..., Awaitable[ResponseT]],
    request: Any,
    *,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,  # noqa: ASYNC109  (it is the RPC's own deadline)
) -> ResponseT:
    """Calls a unary-response method of a stub with a deadline.

    Args:
        method: Bound stub method: `stub.GetVariant`.
        request: Its request, or an async iterator of requests for a client stream.
        timeout: Seconds until DEADLINE_EXCEEDED, retries included.

    Raises:
        AssayError: What the server raised, or Unavailable / DeadlineExceeded.
    """
    try:
        return await method(request, timeout=timeout)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from None


async def stream(
    method: Callable[..., _StreamCall[ResponseT]],
    request: Any,
    *,
    timeout: float | None = None,  # noqa: ASYNC109  (it is the RPC's own deadline)
) -> AsyncGenerator[ResponseT, None]:
    """Iterates a server-stream or bi-directional method, with errors as AssayError.

    Args:
        method: Bound stub method: `stub.WatchVariant`.
        request: Its request, or an async iterator of requests.
        timeout: Seconds for the whole stream; None only for streams that a state ends.

    Raises:
        AssayError: What the server raised, or Unavailable / DeadlineExceeded.
    """
    responses = method(request, timeout=timeout)
    try:
        async for response in responses:
            yield response
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from None
    finally:
        # A caller that stops reading early ends the call; on a finished one this does nothing.
        responses.cancel()


class AssayChannel(grpc.aio.Channel):
    """A channel whose every call carries the token, the request id and the trace context.

    It wraps the channel instead of using client interceptors: those put a task and a queue into
    every stream, which costs throughput on Generate.
    """

    def __init__(self, inner: grpc.aio.Channel, token: str | None = None) -> None:
        self._inner = inner
        self._auth = (("authorization", f"Bearer {token}"),) if token else ()

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return self._with_headers(self._inner.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return self._with_headers(self._inner.unary_stream(*args, **kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return self._with_headers(self._inner.stream_unary(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return self._with_headers(self._inner.stream_stream(*args, **kwargs))

    async def __aenter__(self) -> AssayChannel:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> None:
        await self._inner.__aexit__(*exception)

    async def close(self, grace: float | None = None) -> None:
        """Closes the channel; calls in flight have `grace` seconds."""
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """See `grpc.aio.Channel`."""
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """See `grpc.aio.Channel`."""
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Waits until the channel is connected."""
        await self._inner.channel_ready()

    def _with_headers(self, method: Any) -> Any:
        def start(request: Any = None, *, metadata: Any = None, **options: Any) -> Any:
            context = current_context() or new_context()
            headers = (*self._auth, *context.headers(), *(metadata or ()))
            return method(request, metadata=headers, **options)

        return start
