"""One Generate stream: messages in, finished completions out, at the engine's own pace.

Every message becomes one call to the engine; calls of one stream overlap, so that the engine's
batch stays full while the next message is on its way. Two bounds keep memory flat: the engine's
in-flight limit holds back reading, and the bounded queue of answers holds back the engine when the
client reads slowly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from prometheus_client import Histogram

from assay_core.errors import FailedPrecondition, InvalidArgument
from assay_serving import metrics
from assay_serving.domain import Answer, Completion, Delta, FailureKind, Item
from assay_serving.engine_host import Engine
from assay_serving.gates import Permit

ANSWER_QUEUE = 64
"""Answers held for a client that reads slowly; each has at most a few dozen completions."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The items of one message and the lease they run under."""

    lease_id: str
    digest: str
    items: Sequence[Item] = field(repr=False)

    @property
    def completions(self) -> int:
        """Completions wanted."""
        return sum(len(item.indices) for item in self.items)


class GenerateStream:
    """Runs the batches of one stream on one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._answers: asyncio.Queue[list[Answer] | Exception | None]
        self._answers = asyncio.Queue(ANSWER_QUEUE)
        self._in_flight: set[str] = set()

    async def run(self, batches: AsyncIterator[Batch]) -> AsyncGenerator[list[Answer], None]:
        """Answer every batch; ends when all are answered.

        Closing the iteration, or an error, aborts everything in flight in the engine.

        Raises:
            FailedPrecondition: The lease ended, or is for another artifact.
            InvalidArgument: An item has the id of one that is in flight.
            Unavailable: The engine died.
        """
        reading = asyncio.create_task(self._read(batches))
        try:
            while (results := await self._answers.get()) is not None:
                if isinstance(results, Exception):
                    raise results
                yield results
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, batches: AsyncIterator[Batch]) -> None:
        end: Exception | None = None
        try:
            async with asyncio.TaskGroup() as running:
                async for batch in batches:
                    await self._engine.turn(batch.lease_id)
                    self._engine.book.check(batch.lease_id, batch.digest)
                    self._admit(batch.items)
                    arrived = time.monotonic()
                    permit = await self._engine.limit.acquire(batch.completions)
                    task = running.create_task(self._answer(batch, permit, arrived))
                    # Not in the task: one that is cancelled before its first step runs nothing.
                    task.add_done_callback(permit.release_after)
        except* Exception as failures:  # noqa: BLE001 - handed to whoever reads the answers
            end = _first(failures)
        await self._answers.put(end)

    async def _answer(self, batch: Batch, permit: Permit, arrived: float) -> None:
        left = batch.completions
        begun = False
        answers = self._engine.generate(batch.items, batch.lease_id, batch.digest)
        async with aclosing(answers):
            async for results in answers:
                if not begun:
                    begun = True
                    _first_of(results).observe(time.monotonic() - arrived)
                await self._check(results, batch.digest)
                # Room is given back as completions finish, so that the next message enters while
                # the last ones of this message are still being generated.
                left -= sum(not isinstance(result, Delta) for result in results)
                permit.shrink(left)
                await self._answers.put(results)
        self._in_flight.difference_update(item.id for item in batch.items)

    def _admit(self, items: Sequence[Item]) -> None:
        for position, item in enumerate(items):
            if item.id in self._in_flight:
                raise InvalidArgument.of(
                    f"items[{position}].id",
                    "is the id of an item that is still in flight on this stream",
                    remedy="give every item of a stream an id of its own",
                )
        self._in_flight.update(item.id for item in items)

    async def _check(self, results: Sequence[Answer], digest: str) -> None:
        for result in results:
            if isinstance(result, Delta):
                continue
            if isinstance(result, Completion):
                if result.artifact_digest != digest:
                    raise _wrong_weights("the engine answered with another artifact", None)
                metrics.COMPLETIONS.labels(result.finish_reason.value).inc()
                metrics.PROMPT_TOKENS.inc(result.prompt_tokens)
                metrics.CACHED_PROMPT_TOKENS.inc(result.cached_tokens)
                metrics.COMPLETION_TOKENS.inc(result.completion_tokens)
            elif result.kind is FailureKind.ENGINE_DEAD:
                raise await self._engine.died()
            elif result.kind is FailureKind.WRONG_WEIGHTS:
                raise _wrong_weights(result.message, result.remedy)
            else:
                metrics.COMPLETIONS.labels(result.kind.value.lower()).inc()


def _first_of(results: Sequence[Answer]) -> Histogram:
    """What the time to these first results is: of a token where tokens are streamed."""
    streamed = isinstance(results[0], Delta)
    return metrics.FIRST_TOKEN_SECONDS if streamed else metrics.FIRST_RESULT_SECONDS


def _wrong_weights(message: str, remedy: str | None) -> FailedPrecondition:
    return FailedPrecondition(
        message, reason="WRONG_WEIGHTS", field="artifact_digest", remedy=remedy
    )


def _first(failures: BaseExceptionGroup[Exception]) -> Exception:
    """The first failure: the others are its echoes in calls that ran beside it."""
    failure = failures.exceptions[0]
    return _first(failure) if isinstance(failure, BaseExceptionGroup) else failure
