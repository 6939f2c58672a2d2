"""What every step of a study needs."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from assay_coordinator.domain.extension import Extension
from assay_coordinator.domain.matrix import PlannedVariant
from assay_coordinator.domain.progress import EvaluationStatus, Job, VariantStatus
from assay_coordinator.domain.study import StudySpec
from assay_coordinator.peers import Peers, patiently
from assay_coordinator.settings import CoordinatorSettings
from assay_coordinator.store import StudyRecords, StudyStore
from assay_coordinator.workflows.turns import Resource, Turns
from assay_core.client import DEFAULT_TIMEOUT_SECONDS, call
from assay_core.errors import AssayError, to_document
from assay_core.storage import ObjectStore

ResultT = TypeVar("ResultT")

# Names this application's ids; any fixed UUID will do.
_NAMESPACE = uuid.UUID("6d1c4b0e-3f0a-5b7c-9a52-0d6c6b9d7e11")


@dataclass(frozen=True)
class Context:
    """Settings, stores and peers."""

    settings: CoordinatorSettings
    records: StudyRecords
    store: StudyStore
    peers: Peers
    data: ObjectStore
    turns: Turns
    kind: str = "study"  # what its records are: `study` or `canary`


@dataclass(frozen=True)
class Run:
    """One attempt to bring a study to its end."""

    study_id: str
    attempt: int
    project: str
    spec: StudySpec
    extension: Extension | None = None  # set when the study is another one with more rows

    def request_id(self, *parts: str) -> str:
        """Id of a create at a peer: the same after a crash, another after a resume.

        A resume must not find the failed or cancelled resource of the attempt before; finished work
        is found by content all the same.
        """
        return str(uuid.uuid5(_NAMESPACE, "\x1f".join((self.study_id, str(self.attempt), *parts))))


async def load_run(context: Context, study_id: str, attempt: int) -> Run:
    """The run of a study, read from its record."""
    record = await context.records.get(study_id)
    return Run(study_id, attempt, record.project, record.spec, record.status.extension)


@dataclass
class VariantWork:
    """A variant that is being worked on: what is needed for it, and where it is.

    Writes down every change, which is what watchers see.
    """

    context: Context
    run: Run
    planned: PlannedVariant
    status: VariantStatus
    placed: asyncio.Event  # set when it has its place at the scarce resource of its step

    @property
    def key(self) -> str:
        """Key of the variant."""
        return self.status.key

    async def set(self, **changes: Any) -> None:
        """Change the variant's status; writes only if something changes."""
        changed = self.status.model_copy(update=changes)
        if changed != self.status:
            self.status = changed
            await self.context.store.put_variant(self.run.study_id, changed)

    async def fail(self, error: AssayError) -> None:
        """Record that the variant failed."""
        await self.set(state="FAILED", phase="", error=to_document(error))
        await self.say(f"{self.key} failed: {error.text}")

    async def put_evaluation(self, status: EvaluationStatus) -> None:
        """Write down where an evaluation is."""
        await self.context.store.put_evaluation(self.run.study_id, status)

    async def put_job(self, job: Job) -> None:
        """Remember work in a peer that a cancel has to end."""
        await self.context.store.put_job(self.run.study_id, job)

    async def drop_job(self, job: Job) -> None:
        """Forget work that has ended."""
        await self.context.store.drop_job(self.run.study_id, job)

    def turn(self, resource: Resource) -> AbstractAsyncContextManager[bool]:
        """A place at a scarce resource, in the study's turn; whether it had to be waited for."""
        run = self.run
        return self.context.turns.turn(resource, run.study_id, self.key, run.spec.priority)

    async def leave(self, resource: Resource) -> None:
        """Hold no place: work that is found done after a crash never asks for its turn."""
        await self.context.turns.leave(resource, self.run.study_id, self.key)

    async def say(self, text: str) -> None:
        """Append an event."""
        await self.context.store.add_event(self.run.study_id, text)

    async def patiently(self, action: Callable[[], Awaitable[ResultT]], what: str) -> ResultT:
        """Repeat an idempotent call while its peer is away, and show that it is waited for."""
        shown = self.status.phase

        async def on_wait(error: AssayError) -> None:
            await self.set(phase=f"waiting for {what}: {error.reason.lower()}")

        patience = self.context.settings.peer_patience_seconds
        result = await patiently(action, seconds=patience, what=what, on_wait=on_wait)
        if self.status.phase.startswith(f"waiting for {what}"):
            await self.set(phase=shown)
        return result

    async def call(
        self,
        method: Callable[..., Awaitable[ResultT]],
        request: Any,
        what: str,
        *,
        seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> ResultT:
        """Call an idempotent method of a peer, for as long as its peer may be away."""

        async def action() -> ResultT:
            return await call(method, request, timeout=seconds)

        return await self.patiently(action, what)
