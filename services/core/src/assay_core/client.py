"""Calls to other services: one channel form, deadlines on every call, errors as AssayError.

```python
async with channel("127.0.0.1:7401", settings) as to_compression:
    stub = compression_pb2_grpc.CompressionServiceStub(to_compression)
    variant = await call(stub.GetVariant, request, timeout=10)
```
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

import grpc
from pydantic import SecretStr

from assay_core.context import current_context, new_context
from assay_core.errors import FailedPrecondition, from_rpc_error
from assay_core.limits import MAX_MESSAGE_BYTES
from assay_core.tls import PeerFiles, Renewals, channel_credentials

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

    TLS files that are renewed are read again: calls that start later show the new certificate.

    Args:
        target: Where the service listens.
        credentials: Settings of the caller with its token and TLS files, or a token alone, or None
            for a server without either.

    Raises:
        FailedPrecondition: If a TLS file cannot be read; names the setting.
    """
    if credentials is None or isinstance(credentials, SecretStr | str):
        return AssayChannel(partial(_connect, target, None), credentials)
    connect = partial(_connect, target, credentials)
    return AssayChannel(connect, credentials.peer_token, Renewals.of_peer(credentials))


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

    def __init__(
        self,
        connect: Callable[[], grpc.aio.Channel],
        token: SecretStr | str | None = None,
        renewals: Renewals | None = None,
    ) -> None:
        self._connect = connect
        self._renewals = renewals
        self._inner = connect()
        # Calls that run stay where they began; without any, gRPC ends the connection by itself.
        self._retired: list[grpc.aio.Channel] = []
        secret = token.get_secret_value() if isinstance(token, SecretStr) else token
        self._auth = (("authorization", f"Bearer {secret}"),) if secret else ()

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return self._method("unary_unary", *args, **kwargs)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return self._method("unary_stream", *args, **kwargs)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return self._method("stream_unary", *args, **kwargs)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return self._method("stream_stream", *args, **kwargs)

    async def __aenter__(self) -> AssayChannel:
        return self

    async def __aexit__(self, *exception: Any) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Closes the channel; calls in flight have `grace` seconds."""
        await asyncio.gather(*(each.close(grace) for each in (self._inner, *self._retired)))

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """See `grpc.aio.Channel`."""
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """See `grpc.aio.Channel`."""
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Waits until the channel is connected."""
        await self._inner.channel_ready()

    def _method(self, kind: str, *args: Any, **kwargs: Any) -> Any:
        bound = self._inner
        method = getattr(bound, kind)(*args, **kwargs)

        def start(request: Any = None, *, metadata: Any = None, **options: Any) -> Any:
            nonlocal bound, method
            self._renew()
            if bound is not self._inner:
                bound = self._inner
                method = getattr(bound, kind)(*args, **kwargs)
            context = current_context() or new_context()
            headers = (*self._auth, *context.headers(), *(metadata or ()))
            return method(request, metadata=headers, **options)

        return start

    def _renew(self) -> None:
        """Connects anew where the TLS files were replaced; what cannot be read changes nothing."""
        if self._renewals is None or not self._renewals.seen():
            return
        with suppress(FailedPrecondition):
            fresh = self._connect()
            self._retired.append(self._inner)
            self._inner = fresh


def _connect(target: str, files: PeerFiles | None) -> grpc.aio.Channel:
    tls = None if files is None else channel_credentials(files)
    if tls is None:
        return grpc.aio.insecure_channel(target, options=_OPTIONS)
    return grpc.aio.secure_channel(target, tls, options=_OPTIONS)
