"""Measures a resident model: time to first token, tokens per second, memory (ProfileModel).

Prompts are random token ids, so that no prefix cache helps and no text is involved. They go the
way of every Generate (lease, in-flight limit, replica), beside whatever else runs.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np

from assay_core.errors import FailedPrecondition, OutOfRange
from assay_core.together import together
from assay_serving.domain import Completion, Delta, Failure, Item, Sampling, TokenPrompt
from assay_serving.engine_host import Engine
from assay_serving.failures import item_error
from assay_serving.generation import Batch, GenerateStream

PROMPT_IDS = range(10, 200)
"""Ids that every vocabulary has and that are none of its first, special ones."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to measure with."""

    prompt_tokens: int = 128
    completion_tokens: int = 128
    concurrency: int = 8
    requests: int = 64


@dataclass(frozen=True, slots=True)
class Profile:
    """What was measured; seconds, tokens per second, bytes."""

    ttft_p50: float
    ttft_p95: float
    tokens_per_second: float
    memory_bytes: int


async def profile(engine: Engine, lease_id: str, digest: str, load: Load) -> Profile:
    """Measure the artifact of a lease.

    Raises:
        FailedPrecondition: The lease is not held, or the model is an external endpoint.
        OutOfRange: Prompt and completion do not fit the context.
        Unavailable: The engine died.
    """
    if engine.spec.external:
        raise FailedPrecondition(
            "an external endpoint cannot be profiled: its tokens and memory are not seen here",
            reason="EXTERNAL_ENDPOINT",
            field="lease_id",
            remedy="profile an artifact",
        )
    context = engine.spec.max_model_len
    if load.prompt_tokens + load.completion_tokens > context:
        raise OutOfRange.of(
            "prompt_tokens",
            f"is {load.prompt_tokens} and completion_tokens is {load.completion_tokens}; "
            f"the context holds {context}",
            reason="OVERLENGTH",
            remedy="ask for fewer of both, or load the model with a larger max_model_len",
        )
    waiting = _items(load)
    first: list[float] = []
    tokens = 0

    async def work() -> None:
        nonlocal tokens
        for item in waiting:
            seconds, count = await _one(engine, Batch(lease_id, digest, [item]))
            first.append(seconds)
            tokens += count

    started = time.perf_counter()
    workers = min(load.concurrency, load.requests, engine.limit.capacity)
    # One that fails has failed the measurement.
    await together(*(work() for _ in range(workers)))
    seconds = time.perf_counter() - started
    return Profile(
        ttft_p50=float(np.percentile(first, 50)),
        ttft_p95=float(np.percentile(first, 95)),
        tokens_per_second=tokens / seconds,
        memory_bytes=await engine.memory(),
    )


def _items(load: Load) -> Iterator[Item]:
    draw = random.Random(0)  # noqa: S311 - prompts of a measurement, the same each time
    sampling = Sampling(temperature=0.0, max_tokens=load.completion_tokens)
    for number in range(load.requests):
        ids = tuple(draw.choices(PROMPT_IDS, k=load.prompt_tokens))
        yield Item(f"profile-{number}", TokenPrompt(ids), sampling, stream=True)


async def _one(engine: Engine, batch: Batch) -> tuple[float, int]:
    """Seconds to the first token of one request, and its tokens."""
    started = time.perf_counter()
    first: float | None = None

    async def once() -> AsyncIterator[Batch]:
        yield batch

    async with aclosing(GenerateStream(engine).run(once())) as stream:
        async for answers in stream:
            for answer in answers:
                if isinstance(answer, Failure):
                    raise item_error(answer)
                if isinstance(answer, Delta) and first is None:
                    first = time.perf_counter() - started
                if isinstance(answer, Completion):
                    whole = time.perf_counter() - started
                    return (whole if first is None else first), answer.completion_tokens
    raise AssertionError("a stream ended without its completion")
