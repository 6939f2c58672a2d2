"""Generating: missing completions are asked of serving and stored as they come.

One bidirectional stream per attempt. Requests enter while fewer than `in_flight` completions are
out, results come back in any order and are matched by item id. What has arrived is flushed to
shards every 256 completions or 5 seconds; after any loss the missing work is computed again from
the shards, so a completion is generated twice only if it was in flight.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import grpc

from assay_core.client import stream
from assay_core.errors import AssayError, FailedPrecondition, Unavailable, from_proto
from assay_core.pb import serving_pb2, serving_pb2_grpc
from assay_core.storage import ObjectStore
from assay_evaluators import metrics
from assay_evaluators.sdk.likelihood import stored_text
from assay_evaluators.sdk.pacing import WARM_UP, Pace
from assay_evaluators.sdk.plan import Plan
from assay_evaluators.sdk.shards import OVERLENGTH, Completion, GenerationStore
from assay_evaluators.sdk.work import WorkItem, batches, missing_work, to_request_item

Progress = Callable[[int], Awaitable[None]]
"""Called with the number of completions that became durable."""

# A repeat is safe: what is stored is not asked for again, and seeds are per completion.
_RETRIED = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    }
)
_LEASE_GONE = frozenset({grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND})
_FINISH = {
    serving_pb2.FINISH_REASON_STOP: "stop",
    serving_pb2.FINISH_REASON_LENGTH: "length",
    serving_pb2.FINISH_REASON_OVERLENGTH: OVERLENGTH,
}


@dataclass(frozen=True)
class Limits:
    """Bounds of generating.

    Attributes:
        in_flight: Most completions asked for and not yet back.
        batch_completions: Most completions in one message.
        flush_completions: Completions that make a flush.
        flush_seconds: Longest time a completion waits for a flush.
        attempts: Streams in a row without any progress before the model counts as gone.
        backoff_seconds: First wait between attempts; doubles up to `backoff_limit_seconds`.
        backoff_limit_seconds: Longest wait.
        stall_seconds: Longest silence of a stream.
    """

    in_flight: int = 512
    batch_completions: int = 128
    flush_completions: int = 256
    flush_seconds: float = 5.0
    attempts: int = 5
    backoff_seconds: float = 0.2
    backoff_limit_seconds: float = 5.0
    stall_seconds: float = 600.0


@dataclass(frozen=True)
class Lease:
    """The right to generate with an artifact, as the caller handed it over."""

    id: str
    artifact_digest: str


class ModelGoneError(Exception):
    """The lease is no longer good, or serving does not answer: wait for another lease.

    Attributes:
        cause: What serving said.
    """

    def __init__(self, cause: AssayError) -> None:
        super().__init__(cause.reason)
        self.cause = cause


class Generator:
    """Generates what is missing of plans.

    Args:
        stub: Serving.
        store: Object store of the shards.
        limits: Bounds.
    """

    def __init__(
        self, stub: serving_pb2_grpc.ServingServiceAsyncStub, store: ObjectStore, limits: Limits
    ) -> None:
        self.stub = stub
        self.store = store
        self.limits = limits

    async def run(self, plan: Plan, lease: Lease, progress: Progress) -> None:
        """Generates until nothing is missing.

        Raises:
            ModelGoneError: The lease ended, or serving was unavailable for every attempt.
            AssayError: What serving said of an item or a request that will not get better.
        """
        failures = 0
        while True:
            work = await asyncio.to_thread(missing_work, plan, self.store)
            if not work:
                return
            attempt = _Attempt(self, plan, lease, work, progress)
            try:
                await attempt.run()
            except AssayError as error:
                # What serving says of an item is not about the lease: another would change nothing.
                if error.code in _LEASE_GONE and error is not attempt.refused:
                    raise ModelGoneError(error) from error
                if error.code not in _RETRIED:
                    raise
                failures = 1 if attempt.received else failures + 1
                if failures >= self.limits.attempts:
                    raise ModelGoneError(error) from error
                await asyncio.sleep(self._wait(failures))

    def _wait(self, failures: int) -> float:
        wait: float = self.limits.backoff_seconds * 2 ** (failures - 1)
        jitter = random.uniform(0.5, 1.0)  # noqa: S311 (spreads retries, no secret)
        return min(wait, self.limits.backoff_limit_seconds) * jitter


class _Attempt:
    """One stream and the buffer of what it has brought."""

    def __init__(
        self,
        generator: Generator,
        plan: Plan,
        lease: Lease,
        work: Sequence[WorkItem],
        progress: Progress,
    ) -> None:
        self._plan = plan
        self._lease = lease
        self._work = work
        self._stub = generator.stub
        self._limits = generator.limits
        self._progress = progress
        self._stores = [
            GenerationStore(generator.store, scenario.generation_digest)
            if scenario.identity
            else None
            for scenario in plan.scenarios
        ]
        self._pending: dict[str, tuple[WorkItem, set[int]]] = {}
        self._in_flight = 0
        self._room = asyncio.Event()
        replay = plan.spec.replay
        self._pace = Pace(replay, plan.spec.seed) if replay is not None else None
        self._buffer: dict[int, list[Completion]] = {}
        self._buffered = 0
        self._writing: set[asyncio.Task[None]] = set()
        self.received = 0
        self.refused: AssayError | None = None

    async def run(self) -> None:
        """Runs the stream; what arrived is durable when this returns or raises."""
        await asyncio.to_thread(self._describe)
        flusher = asyncio.create_task(self._flush_regularly())
        try:
            await self._receive()
        finally:
            flusher.cancel()
            (ended,) = await asyncio.gather(flusher, return_exceptions=True)
            metrics.IN_FLIGHT.dec(self._in_flight)
            await asyncio.gather(*self._writing)
            await self._flush()
        if isinstance(ended, Exception):
            raise ended
        if self._pending:
            raise Unavailable(
                "serving ended the stream before every completion was back",
                reason="STREAM_ENDED_EARLY",
            )

    async def _requests(self) -> AsyncIterator[serving_pb2.GenerateRequest]:
        seed = self._plan.spec.seed
        rendered = (
            (item, to_request_item(item, self._plan.scenarios[item.scenario], seed))
            for item in self._work
        )
        first = True
        most, size = self._limits.in_flight, self._limits.batch_completions
        if self._pace is not None:
            most, size = self._pace.in_flight(most), 1
            async for request in self._warm_up(self._pace, seed):
                yield request
                first = False
            await self._pace.begin()
        for batch in batches(rendered, size):
            wanted = sum(len(work.indices) for work, _ in batch)
            if self._pace is not None:
                await self._pace.arrival(batch[0][0].sample.id)
            while self._in_flight and self._in_flight + wanted > most:
                self._room.clear()
                await self._room.wait()
            if self._pace is not None:
                self._pace.sent(batch[0][0].id)
            for work, _ in batch:
                self._pending[work.id] = (work, set(work.indices))
            self._in_flight += wanted
            metrics.IN_FLIGHT.inc(wanted)
            yield serving_pb2.GenerateRequest(
                lease_id=self._lease.id if first else "",
                artifact_digest=self._lease.artifact_digest if first else "",
                items=[item for _, item in batch],
            )
            first = False

    async def _warm_up(self, pace: Pace, seed: int) -> AsyncIterator[serving_pb2.GenerateRequest]:
        """Requests that are neither measured nor stored, in messages of bounded size."""
        own = (to_request_item(i, self._plan.scenarios[i.scenario], seed) for i in self._work)
        warm = [(self._work[0], item) for item in pace.warm_ups(own)]
        for batch in batches(warm, self._limits.batch_completions):
            yield serving_pb2.GenerateRequest(
                lease_id=self._lease.id,
                artifact_digest=self._lease.artifact_digest,
                items=[item for _, item in batch],
            )

    async def _receive(self) -> None:
        async with aclosing(stream(self._stub.Generate, self._requests())) as responses:
            while (response := await self._next(responses)) is not None:
                self._accept(response)
                # Of a replay the flusher alone writes: what waits for a write would look slow.
                if self._pace is None and self._buffered >= self._limits.flush_completions:
                    await self._flush()

    async def _next(
        self, responses: AsyncIterator[serving_pb2.GenerateResponse]
    ) -> serving_pb2.GenerateResponse | None:
        try:
            async with asyncio.timeout(self._limits.stall_seconds):
                return await anext(responses, None)
        except TimeoutError:
            raise Unavailable("serving sent nothing for long", reason="STREAM_STALLED") from None

    def _accept(self, response: serving_pb2.GenerateResponse) -> None:
        if response.artifact_digest != self._lease.artifact_digest:
            raise FailedPrecondition(
                "serving answered with other weights than the lease is for", reason="WRONG_WEIGHTS"
            )
        for completion in response.completions:
            self._take(completion)
        self._room.set()

    def _take(self, completion: serving_pb2.Completion) -> None:
        if self._pace is not None and completion.id.startswith(WARM_UP):
            self._pace.warmed(completion.id)
            return
        entry = self._pending.get(completion.id)
        if entry is None:
            return
        work, open_indices = entry
        if completion.finish_reason not in _FINISH:
            self.refused = from_proto(completion.error)
            raise self.refused
        # A prompt that does not fit does not fit for any completion of it.
        overlength = completion.finish_reason == serving_pb2.FINISH_REASON_OVERLENGTH
        indices = sorted(open_indices) if overlength else [completion.index]
        for index in indices:
            if index in open_indices:
                open_indices.discard(index)
                self._keep(work, index, completion)
        if not open_indices:
            del self._pending[completion.id]

    def _keep(self, work: WorkItem, index: int, completion: serving_pb2.Completion) -> None:
        self._buffer.setdefault(work.scenario, []).append(
            Completion(
                sample_id=work.sample.id,
                completion_index=index,
                text=stored_text(self._plan.scenarios[work.scenario].sampling, completion),
                finish_reason=_FINISH[completion.finish_reason],
                prompt_tokens=completion.prompt_tokens,
                completion_tokens=completion.completion_tokens,
                prompt_digest=completion.prompt_digest,
                artifact_digest=self._lease.artifact_digest,
                **(self._pace.timing(work.id) if self._pace is not None else {}),
            )
        )
        self._buffered += 1
        self._in_flight -= 1
        self.received += 1
        metrics.IN_FLIGHT.dec()
        metrics.COMPLETION_TOKENS.inc(completion.completion_tokens)

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._limits.flush_seconds)
            await self._flush()

    async def _flush(self) -> None:
        """Writes what is buffered; a cancel loses nothing, because `run` waits for the writes."""
        while self._buffer:
            scenario, completions = self._buffer.popitem()
            self._buffered -= len(completions)
            store = self._stores[scenario]
            if store is not None:
                writing = asyncio.create_task(self._write(store, completions))
                self._writing.add(writing)
                writing.add_done_callback(self._writing.discard)
                await asyncio.shield(writing)

    async def _write(self, store: GenerationStore, completions: Sequence[Completion]) -> None:
        await asyncio.to_thread(store.write, completions)
        metrics.COMPLETIONS_STORED.inc(len(completions))
        await self._progress(len(completions))

    def _describe(self) -> None:
        used = {item.scenario for item in self._work}
        for position in used:
            store, scenario = self._stores[position], self._plan.scenarios[position]
            if store is not None and scenario.identity is not None:
                store.describe(scenario.identity)
