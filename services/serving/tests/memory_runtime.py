"""The gateway's models over a runtime that answers from memory: no Ray, no engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from assay_core.resources import ResourceStore, State
from assay_serving.domain import (
    Completion,
    Delta,
    EngineSpec,
    Failure,
    FailureKind,
    FinishReason,
    Item,
    ReplicaStatus,
)
from assay_serving.endpoint_runtime import EndpointRuntime
from assay_serving.engine_host import Engine
from assay_serving.models import LoadRequest, ModelManager
from assay_serving.registry import FIELDS, ModelRecord, ModelRegistry
from assay_serving.runtime import EngineUnreachableError
from assay_serving.settings import ServingSettings


class MemoryRuntime:
    """Engines in memory: a completion carries the digest of what is resident."""

    def __init__(self) -> None:
        self.resident: dict[str, str] = {}
        self.history: list[tuple[str, str]] = []
        self.refuse: set[str] = set()
        self.dead = False
        self.answers_from = ""
        self.hold = asyncio.Event()
        self.hold.set()
        self.open = asyncio.Event()
        self.open.set()
        self.calls: list[list[str]] = []
        self.entered = asyncio.Event()
        self.running = 0
        self.aborted = 0

    def deploy(self, engine_id: str, spec: EngineSpec, path: str, digest: str) -> str:
        if digest in self.refuse:
            self.resident.pop(engine_id, None)
            raise EngineUnreachableError("RuntimeError")
        self.history.append((engine_id, "swap" if engine_id in self.resident else "start"))
        self.resident[engine_id] = digest
        self.dead = False
        return engine_id

    def statuses(self, handle: str) -> list[ReplicaStatus]:
        return [ReplicaStatus(handle, self.resident.get(handle), ready=not self.dead)]

    async def generate(self, handle: str, items: Sequence[Item], digest: str):
        self.running += 1
        self.calls.append([item.id for item in items])
        self.entered.set()
        finished = False
        try:
            await self.open.wait()
            yield []
            for item in items:
                for index in item.indices:
                    await self.hold.wait()
                    if item.stream:
                        yield [Delta(item.id, index, piece, 1) for piece in ("te", "xt")]
                    yield [self._answer(handle, item, index)]
            finished = True
        finally:
            self.running -= 1
            self.aborted += not finished

    def _answer(self, handle: str, item: Item, index: int) -> Completion | Failure:
        if self.dead:
            return Failure(item.id, index, FailureKind.ENGINE_DEAD, "the engine process ended")
        digest = self.answers_from or self.resident[handle]
        return Completion(
            item.id, index, "text", FinishReason.STOP, 1, 1, digest, prompt_digest="sha256:y"
        )

    async def count_tokens(self, handle: str, items: Sequence[Item]) -> list[int]:
        return [1 for _ in items]

    async def memory(self, handle: str) -> int:
        return 1024

    def delete(self, engine_id: str) -> None:
        self.resident.pop(engine_id, None)
        self.history.append((engine_id, "end"))

    def stop(self) -> None:
        self.resident.clear()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def checkpoint(path: Path, *, weight: float, hidden: int = 8) -> str:
    path.mkdir()
    config = {"architectures": ["LlamaForCausalLM"], "hidden_size": hidden, "dtype": "float32"}
    config["max_position_embeddings"] = 512
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text("{}")
    save_file({"w": np.full((2, 2), weight, dtype=np.float32)}, path / "model.safetensors")
    return str(path)


class World:
    """A manager with its parts, and checkpoints a, b (one family) and c (another)."""

    def __init__(self, home: Path, *, checkpoints: bool = True, **settings: object) -> None:
        self.settings = ServingSettings(home=home, **settings)
        self.runtime = MemoryRuntime()
        self.clock = Clock()
        self.registry = ModelRegistry(
            ResourceStore(self.settings.database_url, "models", fields=FIELDS)
        )
        endpoints = EndpointRuntime(self.settings.endpoints)
        self.manager = ModelManager(
            self.settings, self.runtime, endpoints, self.registry, self.clock
        )
        self.uri = {name: str(home / name) for name in "abc"}
        if checkpoints:
            checkpoint(home / "a", weight=1.0)
            checkpoint(home / "b", weight=2.0)
            checkpoint(home / "c", weight=1.0, hidden=16)

    async def load(self, name: str, ttl: float = 60.0, **fields: object):
        request = LoadRequest("default", self.uri[name], ttl=ttl, **fields)
        return await self.manager.load(request)

    async def settled(self, known: ModelRecord) -> ModelRecord:
        async with asyncio.timeout(10):
            async for change in self.registry.watch(known.model.id):
                known = change
        return known

    async def leased(self, name: str, **fields: object):
        known, lease = await self.load(name, **fields)
        known = await self.settled(known)
        assert known.record.state is State.SUCCEEDED, known.record.error
        return known, lease

    def engine(self, known: ModelRecord) -> Engine:
        engine = self.manager.engine_of(known.model)
        assert engine is not None
        return engine
