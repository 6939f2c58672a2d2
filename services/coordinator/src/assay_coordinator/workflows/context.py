"""What every step of a study needs."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from assay_coordinator.domain.progress import EvaluationStatus, VariantStatus
from assay_coordinator.domain.study import StudySpec
from assay_coordinator.peers import Peers, patiently
from assay_coordinator.settings import CoordinatorSettings
from assay_coordinator.store import StudyRecords, StudyStore
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


@dataclass(frozen=True)
class Run:
    """One attempt to bring a study to its end."""

    study_id: str
    attempt: int
    project: str
    spec: StudySpec

    def request_id(self, *parts: str) -> str:
        """Id of a create at a peer: the same after a crash, another after a resume.

        A resume must not find the failed or cancelled resource of the attempt before; finished work
        is found by content all the same.
        """
        return str(uuid.uuid5(_NAMESPACE, "\x1f".join((self.study_id, str(self.attempt), *parts))))


async def load_run(context: Context, study_id: str, attempt: int) -> Run:
    """The run of a study, read from its record."""
    record = await context.records.get(study_id)
    return Run(study_id, attempt, record.project, record.spec)


class Reporter:
    """Writes down where a variant and its evaluations are, and says so to watchers."""

    def __init__(self, context: Context, run: Run, variant: VariantStatus) -> None:
        self._context = context
        self._run = run
        self.variant = variant

    async def set(self, **changes: Any) -> VariantStatus:
        """Change the variant's status; writes only if something changes."""
        changed = self.variant.model_copy(update=changes)
        if changed != self.variant:
            self.variant = changed
            await self._context.store.put_variant(self._run.study_id, changed)
        return self.variant

    async def fail(self, error: AssayError, phase: str = "") -> None:
        """Record that the variant failed."""
        await self.set(state="FAILED", phase=phase, error=to_document(error))
        await self.say(f"{self.variant.key} failed: {error.text}")

    async def evaluation(self, status: EvaluationStatus) -> None:
        """Write down where an evaluation is."""
        await self._context.store.put_evaluation(self._run.study_id, status)

    async def say(self, text: str) -> None:
        """Append an event."""
        await self._context.store.add_event(self._run.study_id, text)

    async def patiently(
        self, action: Callable[[], Awaitable[ResultT]], what: str, seconds: float | None = None
    ) -> ResultT:
        """Repeat an idempotent call while its peer is away, and show that it is waited for."""
        shown = self.variant.phase

        async def on_wait(error: AssayError) -> None:
            await self.set(phase=f"waiting for {what}: {error.reason.lower()}")

        patience = self._context.settings.peer_patience_seconds if seconds is None else seconds
        result = await patiently(action, seconds=patience, what=what, on_wait=on_wait)
        if self.variant.phase.startswith("waiting for "):
            await self.set(phase=shown)
        return result
