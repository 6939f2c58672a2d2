"""The models this server knows: what is, was or will be resident, for Get, List and Watch.

Records are durable (`assay_core.resources`), so a list survives a restart; what they say about
residency does not, and is taken back when the server starts.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from assay_core.digest import digest_of
from assay_core.errors import AssayError
from assay_core.resources import Draft, JsonField, Progress, Record, ResourceStore, State, can_move
from assay_serving.domain import EngineIdentity, EngineOptions

FIELDS = {
    "artifact_digest": JsonField("spec.artifact_digest"),
    "artifact_uri": JsonField("spec.artifact_uri"),
    "engine_id": JsonField("spec.engine_id"),
    "ready": JsonField("status.ready", "boolean"),
    "wanted": JsonField("status.wanted", "boolean"),
}
"""What ListModels can be filtered by, besides id, state and times."""


WAITING = "waiting for its turn"
"""Phase of a model that is asked for and not being loaded yet."""

WITHDRAWN = "withdrawn"
"""Phase of a model that whoever had asked for it gave up before it was loaded."""

RESTARTED = "server restarted"
"""Phase of a model whose engine ended with an earlier process of this server; it stays in front of
the phases of the next load."""


@dataclass(frozen=True, slots=True)
class Model:
    """One artifact on one engine, for one project: the part of its record that never changes."""

    id: str
    project: str
    artifact_uri: str
    artifact_digest: str
    engine_id: str
    engine: EngineIdentity
    tokenizer_digest: str
    chat_template_digest: str


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """A model and how it is doing.

    State is QUEUED, RUNNING while loading, SUCCEEDED while resident, FAILED, and CANCELLED once it
    has left its engine.
    """

    model: Model
    record: Record

    @property
    def ready(self) -> bool:
        """Whether a token came out of these weights since they were loaded."""
        return bool(self.record.status.get("ready"))

    @property
    def wanted(self) -> bool:
        """Whether it is to be loaded again after a loss."""
        return bool(self.record.status.get("wanted"))

    @property
    def options(self) -> EngineOptions:
        """What its engine was asked for when it was last wanted."""
        return EngineOptions(**self.record.status.get("options", {}))

    @property
    def swapped(self) -> bool:
        """Whether the last load was an in-place swap."""
        return bool(self.record.status.get("swapped"))

    @property
    def load_seconds(self) -> float:
        """How long the last load or swap took."""
        return float(self.record.status.get("load_seconds", 0.0))

    @property
    def request_id(self) -> str:
        """Id of the last request for it."""
        return str(self.record.status.get("request_id", ""))


@dataclass(frozen=True, slots=True)
class ModelPage:
    """One page of a list."""

    models: list[ModelRecord]
    next_page_token: str


class ListOptions(Protocol):
    """The fields of `assay.common.v1.ListOptions`."""

    page_size: int
    page_token: str
    filter: str
    order_by: str


class ModelRegistry:
    """Model records in a `ResourceStore`."""

    def __init__(self, store: ResourceStore) -> None:
        self._store = store

    async def start(self) -> None:
        """Take back what records of an earlier process say: its engines ended with it."""
        for record in await self._all('ready = true OR state = "QUEUED" OR state = "RUNNING"'):
            await self._move(record, State.CANCELLED, RESTARTED, ready=False)

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()

    async def put(self, model: Model, request_id: str) -> None:
        """Record that a model was asked for, unless it is known.

        One content is one model wherever it lies; the record keeps the place it was first in.
        """
        spec = asdict(model)
        identity = {key: value for key, value in spec.items() if key != "artifact_uri"}
        await self._store.create(
            Draft(
                id=model.id,
                project=model.project,
                request_id="",
                fingerprint=digest_of(identity),
                spec=spec,
                status={"request_id": request_id},
            )
        )

    async def want(self, model_id: str, options: EngineOptions) -> None:
        """Record that a model is to stay, and what its engine was asked for."""
        status = {"wanted": True, "wanted_at": time.time(), "options": asdict(options)}
        await self._store.update(model_id, status=status)

    async def unwant(self, model_id: str) -> None:
        """Record that a model need not stay."""
        await self._store.update(model_id, status={"wanted": False})

    async def wanted(self) -> list[ModelRecord]:
        """Models that are to stay, the one that was asked for last at the end."""
        found = await self._all("wanted = true")
        found.sort(key=lambda record: float(record.status.get("wanted_at", 0.0)))
        return [_model(record) for record in found]

    async def lost(self, known: ModelRecord, phase: str, error: AssayError | None) -> None:
        """Record how a wanted model is doing, unless somebody has asked for it meanwhile."""
        if (await self._store.get(known.model.id)).version == known.record.version:
            await self._move(known.record, State.FAILED, phase, error=error, ready=False)

    async def wait_again(self, model_id: str, request_id: str) -> None:
        """Queue a model whose earlier load has ended; one that waits or loads is left alone."""
        record = await self._store.get(model_id)
        if record.is_terminal:
            await self._move(record, State.QUEUED, WAITING, ready=False, request_id=request_id)

    async def get(self, model_id: str) -> ModelRecord:
        """One model.

        Raises:
            NotFound: There is none.
        """
        return _model(await self._store.get(model_id))

    async def page(self, project: str, options: ListOptions) -> ModelPage:
        """One page of a project's models.

        Raises:
            InvalidArgument: An option is wrong.
        """
        page = await self._store.list(
            project, options.page_size, options.page_token, options.filter, options.order_by
        )
        return ModelPage([_model(record) for record in page.records], page.next_page_token)

    async def ready(self) -> list[ModelRecord]:
        """Every resident model, of whatever project."""
        return [_model(record) for record in await self._all("ready = true")]

    async def sharing(self, model: Model) -> list[ModelRecord]:
        """The models of every project with the same weights on the same engine, itself included."""
        where = _held(model.engine_id, model.artifact_digest)
        return [_model(record) for record in await self._all(where)]

    async def watch(self, model_id: str) -> AsyncGenerator[ModelRecord, None]:
        """The model as it is, then each change, until it is resident, failed or gone."""
        async for record in self._store.watch(model_id):
            yield _model(record)

    async def update(
        self,
        engine_id: str,
        digest: str,
        state: State,
        phase: str,
        *,
        error: AssayError | None = None,
        **status: Any,
    ) -> None:
        """Change the records of an artifact on an engine, in whatever project."""
        for record in await self._all(_held(engine_id, digest)):
            await self._move(record, state, phase, error=error, **status)

    async def withdraw(self, engine_id: str, digest: str) -> None:
        """Record that nobody waits for an artifact any more; who wanted it to stay still does."""
        unfinished = '(state = "QUEUED" OR state = "RUNNING")'
        for record in await self._all(f"{_held(engine_id, digest)} AND {unfinished}"):
            await self._move(record, State.CANCELLED, WITHDRAWN, ready=False)

    async def _all(self, where: str) -> list[Record]:
        return [record async for record in self._store.every(None, filter=where)]

    async def _move(
        self,
        record: Record,
        state: State,
        phase: str,
        *,
        error: AssayError | None = None,
        **status: Any,
    ) -> None:
        if record.progress.phase.startswith(RESTARTED) and state in (State.QUEUED, State.RUNNING):
            phase = f"{RESTARTED}; {phase}"
        # What is resident can fail or leave; the store knows only jobs, which end once, so it is
        # queued again first.
        if not can_move(record.state, state):
            await self._store.update(record.id, state=State.QUEUED)
        await self._store.update(
            record.id, state=state, status=status, progress=Progress(phase=phase), error=error
        )


def _held(engine_id: str, digest: str) -> str:
    """The filter of an artifact's records on an engine."""
    return f'engine_id = "{engine_id}" AND artifact_digest = "{digest}"'


def _model(record: Record) -> ModelRecord:
    spec = dict(record.spec)
    engine = EngineIdentity(**spec.pop("engine"))
    return ModelRecord(Model(engine=engine, **spec), record)
