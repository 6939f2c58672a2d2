"""One Generate stream: messages in, finished completions out, at the engine's own pace.

Messages become calls to the engine; calls of one stream overlap, so that the engine's batch stays
full while the next message is on its way. Messages that come while a call is on its way to the
engine go together in the next one. Two bounds keep memory flat: the engine's
in-flight limit holds back reading, and the bounded queue of answers holds back the engine when the
client reads slowly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from prometheus_client import Histogram

from assay_core.errors import FailedPrecondition, InvalidArgument
from assay_serving import metrics
from assay_serving.domain import Answer, Completion, Delta, FailureKind, Item
from assay_serving.engine_host import Engine
from assay_serving.gates import Permit

ANSWER_QUEUE = 64
"""Answers held for a client that reads slowly; each has at most a few dozen completions."""

GATHERED = 256
"""Completions of messages that go to the engine together: as many as it has in one step."""


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


class Messages:
    """The messages of a stream, one at a time; a read may go on while nobody waits for it."""

    def __init__(self, batches: AsyncIterator[Batch]) -> None:
        self._batches = batches
        self._reading: asyncio.Task[Batch | None] | None = None

    async def take(self) -> Batch | None:
        """The next message; None after the last."""
        batch = await self._read()
        if batch is not None:
            self._reading = None
        return batch

    async def comes_before(self, event: asyncio.Event) -> bool:
        """Whether the next message, or the end, is there before an event."""
        reading, waiting = self._read(), asyncio.create_task(event.wait())
        try:
            await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        return reading.done()

    async def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    def _read(self) -> asyncio.Task[Batch | None]:
        if self._reading is None:
            self._reading = asyncio.create_task(self._following())
        return self._reading

    async def _following(self) -> Batch | None:
        return await anext(self._batches, None)


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
        messages = Messages(batches)
        try:
            async with asyncio.TaskGroup() as running:
                entered: asyncio.Event | None = None
                while (batch := await self._next(messages, entered)) is not None:
                    arrived = time.monotonic()
                    permit = await self._engine.limit.acquire(batch.completions)
                    entered = asyncio.Event()
                    task = running.create_task(self._answer(batch, permit, arrived, entered))
                    # Not in the task: one that is cancelled before its first step runs nothing.
                    task.add_done_callback(permit.release_after)
                    task.add_done_callback(_setting(entered))
        except* Exception as failures:  # noqa: BLE001 - handed to whoever reads the answers
            end = _first(failures)
        finally:
            await messages.close()
        await self._answers.put(end)

    async def _next(self, messages: Messages, entered: asyncio.Event | None) -> Batch | None:
        """The next message, with those that come until the batch before it is in the engine.

        Each batch is a call of its own, and one that comes a few steps after another makes the
        engine draw those steps with half of its batch. Nobody waits for this: the engine has the
        batch before, and what goes to several replicas goes message by message.
        """
        batch = await self._checked(messages)
        if batch is None or entered is None or not self._engine.takes_turns:
            return batch
        while batch.completions < min(GATHERED, self._engine.limit.free):
            if not await messages.comes_before(entered):
                break
            more = await self._checked(messages)
            if more is None:
                break
            batch = replace(batch, items=[*batch.items, *more.items])
        return batch

    async def _checked(self, messages: Messages) -> Batch | None:
        batch = await messages.take()
        if batch is not None:
            await self._engine.turn(batch.lease_id)
            self._engine.book.check(batch.lease_id, batch.digest)
            self._admit(batch.items)
        return batch

    async def _answer(
        self, batch: Batch, permit: Permit, arrived: float, entered: asyncio.Event
    ) -> None:
        left = batch.completions
        begun = False
        answers = self._engine.generate(batch.items, batch.lease_id, batch.digest)
        async with aclosing(answers):
            async for results in answers:
                entered.set()
                if not results:
                    continue
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


def _setting(event: asyncio.Event) -> Callable[[asyncio.Task[None]], None]:
    """A task's done callback that sets an event."""

    def done(_task: asyncio.Task[None]) -> None:
        event.set()

    return done
