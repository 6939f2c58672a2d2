"""Clients of the services that do the work.

Addresses are settings: no request can make the coordinator call another host.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_delay
from tenacity.wait import wait_base, wait_exponential_jitter

from assay_coordinator.settings import CoordinatorSettings
from assay_core.client import channel
from assay_core.errors import AssayError, InvalidArgument, is_retryable
from assay_core.logs import get_logger
from assay_core.pb import (
    compression_pb2_grpc,
    evaluation_pb2_grpc,
    serving_pb2_grpc,
)

ResultT = TypeVar("ResultT")
UpdateT = TypeVar("UpdateT")
_LOG = get_logger("assay.coordinator.peers")


class Peers:
    """Stubs of compression, serving and the evaluators."""

    def __init__(self, settings: CoordinatorSettings) -> None:
        self._channels = [
            channel(target, settings)
            for target in (settings.compression, settings.serving, *settings.evaluators.values())
        ]
        compression, serving, *evaluators = self._channels
        self.compression = compression_pb2_grpc.CompressionServiceStub(compression)
        self.serving = serving_pb2_grpc.ServingServiceStub(serving)
        self._evaluators = {
            dimension: evaluation_pb2_grpc.EvaluationServiceStub(evaluator)
            for dimension, evaluator in zip(settings.evaluators, evaluators, strict=True)
        }

    @property
    def dimensions(self) -> list[str]:
        """Dimensions that have an evaluator here."""
        return sorted(self._evaluators)

    def evaluator(self, dimension: str) -> evaluation_pb2_grpc.EvaluationServiceAsyncStub:
        """The evaluator of a dimension.

        Raises:
            InvalidArgument: If no evaluator is set up for it.
        """
        try:
            return self._evaluators[dimension]
        except KeyError:
            known = ", ".join(self.dimensions) or "none"
            raise InvalidArgument.of(
                "spec.dimensions",
                f"names {dimension!r}, for which no evaluator is set up",
                remedy=f"choose from: {known}",
                reason="UNKNOWN_DIMENSION",
            ) from None

    async def close(self) -> None:
        """Close every channel."""
        for open_channel in self._channels:
            await open_channel.close()


class _Backoff(wait_base):
    """The server's own RetryInfo where it gives one, else exponential with jitter."""

    def __init__(self) -> None:
        self._exponential = wait_exponential_jitter(multiplier=0.3, max=10.0)

    def __call__(self, retry_state: RetryCallState) -> float:
        outcome = retry_state.outcome
        error = outcome.exception() if outcome is not None else None
        if isinstance(error, AssayError) and error.retry_after is not None:
            return error.retry_after
        return self._exponential(retry_state)


def _transient(error: BaseException) -> bool:
    """A peer that is away or busy. Safe to repeat: reads change nothing, creates carry an id."""
    if not isinstance(error, AssayError):
        return False
    return is_retryable(error) or error.code.name in ("DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN")


async def patiently(
    action: Callable[[], Awaitable[ResultT]],
    *,
    seconds: float,
    what: str,
    on_wait: Callable[[AssayError], Awaitable[None]] | None = None,
) -> ResultT:
    """Repeat an idempotent action while its peer is away.

    Args:
        action: What to do; must be safe to repeat.
        seconds: Bound of the whole wait.
        what: What is waited for, for the log.
        on_wait: Told of each failed attempt.

    Raises:
        AssayError: The last failure, when time is up or waiting does not help.
    """

    async def before_sleep(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, AssayError):
            _LOG.info("peer_retry", what=what, reason=error.reason, attempt=state.attempt_number)
            if on_wait is not None:
                await on_wait(error)

    retrying = AsyncRetrying(
        retry=retry_if_exception(_transient),
        wait=_Backoff(),
        stop=stop_after_delay(seconds),
        before_sleep=before_sleep,
        reraise=True,
    )
    return await retrying(action)


async def latest(updates: AsyncIterator[UpdateT], *, every: float) -> AsyncGenerator[UpdateT, None]:
    """The newest update of a watch, at most one in `every` seconds; the last one always comes.

    Raises:
        AssayError: What the watch raised, after its last update.
    """
    arrived = asyncio.Event()
    newest: list[UpdateT] = []

    async def read() -> None:
        async for update in updates:
            newest[:] = [update]
            arrived.set()

    reading = asyncio.create_task(read())
    try:
        while True:
            arriving = asyncio.create_task(arrived.wait())
            await asyncio.wait({reading, arriving}, return_when=asyncio.FIRST_COMPLETED)
            arriving.cancel()
            if not arrived.is_set():
                break
            arrived.clear()
            yield newest[0]
            await asyncio.wait({reading}, timeout=every)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    reading.result()
