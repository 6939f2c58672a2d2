"""The Ray Serve deployment: one vLLM engine per replica, and the gate that keeps weights unmixed.

The wanted artifact lives in Serve's `user_config`, so that a restarted or additional replica loads
it too. `reconfigure` is called with it at start and at every change; it never raises, because Serve
would then restart the replica again and again: it records the failure, and the gateway reads it
from `status` and decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from assay_core.errors import AssayError, Unavailable, to_document
from assay_serving.artifacts import verify_files
from assay_serving.domain import (
    Answer,
    Delta,
    EngineSpec,
    Failure,
    FailureKind,
    Item,
    ReplicaStatus,
    Result,
)
from assay_serving.engine.errors import EngineDeadError
from assay_serving.engine.prompts import Encoded, PromptRefusedError, Refused
from assay_serving.gates import SwapGate
from assay_serving.parcel import open_items, pack_answers

if TYPE_CHECKING:
    from assay_serving.engine.vllm_engine import VllmEngine

COALESCE = 64
"""Most results sent in one step of the answer stream."""


class EngineReplica:
    """Holds one artifact at a time; every answer carries the digest of what produced it."""

    def __init__(self, name: str, spec: EngineSpec, *, with_metrics: bool = False) -> None:
        self._name = name
        self._spec = spec
        self._with_metrics = with_metrics
        self._gate = SwapGate()
        self._engine: VllmEngine | None = None
        self._status = ReplicaStatus(name, digest=None, ready=False)

    async def reconfigure(self, wanted: dict[str, str]) -> None:
        """Hold the wanted artifact: start the engine with it, or swap it in place."""
        async with self._gate.exclusive():
            if self._status.ready and self._status.digest == wanted["digest"]:
                return
            started = time.monotonic()
            swapped = self._engine is not None
            self._status = ReplicaStatus(self._name, digest=None, ready=False)
            try:
                await self._hold(wanted["path"], wanted["digest"])
            except Exception as error:  # noqa: BLE001 - the boundary: recorded, read by the gateway
                self._stop()
                self._status = self._failed(error)
                return
            self._status = ReplicaStatus(
                self._name,
                digest=wanted["digest"],
                ready=True,
                swapped=swapped,
                load_seconds=time.monotonic() - started,
            )

    async def _hold(self, path: str, digest: str) -> None:
        await asyncio.to_thread(verify_files, Path(path), digest)
        if self._engine is None:
            self._engine = await asyncio.to_thread(
                _start_engine, path, self._spec, with_metrics=self._with_metrics
            )
        else:
            await self._engine.reload_weights(path)
        await self._engine.probe()

    async def status(self) -> ReplicaStatus:
        """What this replica holds now."""
        if self._engine is not None and self._engine.dead:
            return self._failed(EngineDeadError("the engine process ended"))
        return self._status

    async def generate(self, batch: bytes, digest: str) -> AsyncIterator[bytes]:
        """Answer a batch of items, completions in the order they finish, a few per step.

        Batch and answers are parcels (see `parcel`).

        Ending the iteration early aborts what is left of the batch in the engine.
        """
        items = open_items(batch)
        async with self._gate.shared():
            engine = self._engine
            if engine is None or self._status.digest != digest:
                yield pack_answers(
                    [_wrong_weights(item, index) for item in items for index in item.indices]
                )
                return
            # Closed before the gate is left: no request may be running when a swap enters.
            async with contextlib.aclosing(_answer(engine, items, digest)) as answers:
                async for results in answers:
                    yield pack_answers(results)

    async def count_tokens(self, batch: bytes) -> list[int | Failure]:
        """Tokens of each prompt of a batch (a parcel too) as the model would see it."""
        items = open_items(batch)
        async with self._gate.shared():
            if self._engine is None:
                return [_wrong_weights(item, 0) for item in items]
            return await asyncio.to_thread(_count, self._engine, items)

    async def memory(self) -> int:
        """Memory of this process and those below it, shared pages counted once, in bytes."""
        return await asyncio.to_thread(_memory)

    def _failed(self, error: Exception) -> ReplicaStatus:
        if not isinstance(error, AssayError):
            # The first line is vLLM's own summary; requests are never part of a load.
            summary = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            error = Unavailable(
                f"the engine could not hold the artifact ({summary})",
                reason="ENGINE_START_FAILED",
                remedy="read the replica's log; check memory and whether vLLM serves this model",
            )
        return ReplicaStatus(self._name, digest=None, ready=False, failure=to_document(error))

    def __del__(self) -> None:
        """Serve calls this when the replica ends."""
        self._stop()

    def _stop(self) -> None:
        if self._engine is not None:
            self._engine.stop()
            self._engine = None


def _memory() -> int:
    here = psutil.Process()
    total = 0
    for process in (here, *here.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total


def _start_engine(path: str, spec: EngineSpec, *, with_metrics: bool) -> VllmEngine:
    # The gateway imports this module to deploy it, and must not pay for importing vLLM.
    module = importlib.import_module("assay_serving.engine.vllm_engine")
    engine: VllmEngine = module.VllmEngine.start(path, spec, with_metrics=with_metrics)
    return engine


async def _answer(
    engine: VllmEngine, items: Sequence[Item], digest: str
) -> AsyncGenerator[list[Answer], None]:
    prompts = await asyncio.to_thread(engine.encoder.encode_batch, items)
    done: asyncio.Queue[Answer] = asyncio.Queue()

    async def complete(item: Item, index: int, prompt: Encoded | Refused) -> None:
        on_delta = done.put_nowait if item.stream else None
        done.put_nowait(
            await _complete(engine, item, index, prompt, digest=digest, on_delta=on_delta)
        )

    tasks = [
        asyncio.create_task(complete(item, index, prompt))
        for item, prompt in zip(items, prompts, strict=True)
        for index in item.indices
    ]
    try:
        # The tasks hand over their prompts when they first run, which is before this is read.
        yield []
        left = len(tasks)
        while left:
            answers = [await done.get()]
            with contextlib.suppress(asyncio.QueueEmpty):
                while len(answers) < COALESCE:
                    answers.append(done.get_nowait())
            left -= sum(not isinstance(answer, Delta) for answer in answers)
            yield answers
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _complete(
    engine: VllmEngine,
    item: Item,
    index: int,
    prompt: Encoded | Refused,
    *,
    digest: str,
    on_delta: Callable[[Delta], None] | None,
) -> Result:
    if isinstance(prompt, Refused):
        return Failure(
            item.id,
            index,
            prompt.kind,
            prompt.message,
            field=prompt.field,
            remedy=prompt.remedy,
            prompt_tokens=prompt.prompt_tokens,
            prompt_digest=prompt.digest,
        )
    try:
        return await engine.complete(item, index, prompt, digest, on_delta)
    except EngineDeadError:
        return Failure(item.id, index, FailureKind.ENGINE_DEAD, "the engine process ended")
    except Exception as error:  # noqa: BLE001 - the boundary: one completion fails, the rest go on
        kind = FailureKind.ENGINE_DEAD if engine.dead else FailureKind.ENGINE_REFUSED
        return Failure(
            item.id, index, kind, f"the engine failed on this item ({type(error).__name__})"
        )


def _count(engine: VllmEngine, items: Sequence[Item]) -> list[int | Failure]:
    counts: list[int | Failure] = []
    for item in items:
        try:
            counts.append(len(engine.encoder.ids_of(item.prompt)))
        except PromptRefusedError as error:
            counts.append(
                Failure(
                    item.id,
                    0,
                    FailureKind.INVALID_ITEM,
                    str(error),
                    field=error.field,
                    remedy=error.remedy,
                )
            )
    return counts


def _wrong_weights(item: Item, index: int) -> Failure:
    return Failure(
        item.id,
        index,
        FailureKind.WRONG_WEIGHTS,
        "the engine does not hold the artifact that was asked for",
        remedy="call LoadModel again and use the new lease",
    )
