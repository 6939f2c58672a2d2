"""The models this server knows: what is, was or will be resident, for Get, List and Watch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from assay_core.errors import AssayError, NotFound
from assay_serving.domain import EngineIdentity


class ModelState(StrEnum):
    """QUEUED, RUNNING while loading, SUCCEEDED while resident, FAILED, CANCELLED once it left."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def settled(self) -> bool:
        """Whether a watch ends here."""
        return self not in (ModelState.QUEUED, ModelState.RUNNING)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Model:
    """One artifact on one engine, for one project."""

    id: str
    project: str
    request_id: str
    artifact_uri: str
    artifact_digest: str
    engine_id: str
    engine: EngineIdentity
    tokenizer_digest: str
    chat_template_digest: str
    state: ModelState = ModelState.QUEUED
    phase: str = "waiting for its turn"
    ready: bool = False
    swapped: bool = False
    load_seconds: float = 0.0
    error: AssayError | None = None
    create_time: datetime = field(default_factory=_now)
    update_time: datetime = field(default_factory=_now)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list."""

    models: list[Model]
    next_page_token: str


class ModelRegistry:
    """Records by id; watchers see every change."""

    def __init__(self) -> None:
        self._models: dict[str, Model] = {}
        self._changed = asyncio.Condition()

    async def put(self, model: Model, *, again: bool) -> None:
        """Record a model; one that is known is recorded anew only if `again`."""
        known = self._models.get(model.id)
        if known is None:
            await self._store(model)
        elif again:
            await self._store(replace(model, create_time=known.create_time))

    async def get(self, model_id: str) -> Model:
        """One model.

        Raises:
            NotFound: There is none.
        """
        try:
            return self._models[model_id]
        except KeyError:
            raise NotFound(
                f"model {model_id} is not known here",
                reason="MODEL_NOT_FOUND",
                field="id",
                remedy="list the models, or call LoadModel",
                resource=f"model/{model_id}",
            ) from None

    async def list(self, project: str, options: Any) -> Page:
        """One page of a project's models, newest first."""
        mine = [model for model in self._models.values() if model.project == project]
        mine.sort(key=lambda model: model.create_time, reverse=True)
        return Page(mine, "")

    async def update(self, engine_id: str, digest: str, change: Callable[[Model], Model]) -> None:
        """Change the records of an artifact on an engine, in whatever project."""
        for model in list(self._models.values()):
            if (model.engine_id, model.artifact_digest) == (engine_id, digest):
                await self._store(change(model))

    async def watch(self, model_id: str) -> AsyncGenerator[Model, None]:
        """The model as it is, then each change, until it is resident, failed or gone."""
        last: Model | None = None
        while True:
            model = await self.get(model_id)
            if model is not last:
                yield model
                last = model
            if model.state.settled:
                return
            async with self._changed:
                while self._models[model_id] is last:
                    await self._changed.wait()

    async def _store(self, model: Model) -> None:
        self._models[model.id] = replace(model, update_time=_now())
        async with self._changed:
            self._changed.notify_all()
