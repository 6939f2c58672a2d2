"""What an engine needs of those around it, and the errors that its state explains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from assay_core.errors import AssayError, FailedPrecondition, Internal, Unavailable
from assay_serving.domain import EngineSpec
from assay_serving.leases import LeaseBook
from assay_serving.runtime import EngineUnreachableError

RETRY_SECONDS = 5.0
"""When to ask again for an engine that died or did not start."""


@dataclass(frozen=True, slots=True)
class LoadFacts:
    """How the last load went."""

    seconds: float = 0.0
    swapped: bool = False


class Loadable(Protocol):
    """What can be made resident: an artifact, or an endpoint of somebody else."""

    @property
    def uri(self) -> str:
        """Where it comes from, as records show it."""

    @property
    def digest(self) -> str:
        """What identifies it in leases and answers."""

    @property
    def location(self) -> str:
        """What the runtime is told of it."""

    def verify(self) -> None:
        """Check that it is what the digest stands for. Blocks.

        Raises:
            AssayError: It is not.
        """


class EngineView(Protocol):
    """What others see of an engine when it tells them something."""

    id: str
    book: LeaseBook
    spec: EngineSpec
    memory_bytes: int

    @property
    def resident(self) -> str | None:
        """Digest of the artifact that answers now."""


class ModelEvents(Protocol):
    """Who is told what happens to the models of an engine."""

    async def loading(self, engine: EngineView, digest: str, phase: str) -> None:
        """The artifact is being made resident."""

    async def resident(self, engine: EngineView, digest: str, load: LoadFacts) -> None:
        """A token came out of the artifact."""

    async def failed(self, engine: EngineView, digest: str, error: AssayError) -> None:
        """The artifact could not be loaded, or its engine died."""

    async def left(self, engine: EngineView, digest: str, why: str) -> None:
        """The artifact is not resident any more."""

    async def withdrawn(self, engine: EngineView, digest: str) -> None:
        """A request for the artifact was taken back while it waited."""


class Residency(Protocol):
    """Who decides how many engines run at once."""

    def room_for(self, engine: EngineView) -> Any:
        """An async context in which `engine` may start; others were ended to make room."""


def not_resident() -> FailedPrecondition:
    """The error of a call that needs a resident artifact."""
    return FailedPrecondition(
        "the model is not resident in an engine",
        reason="NOT_RESIDENT",
        field="model_id",
        remedy="call LoadModel and watch the model until it is resident",
    )


def step_failed(engine_id: str, error: Exception) -> Internal:
    """The error of a load that failed in a way nobody foresaw."""
    return Internal(
        f"loading into engine {engine_id} failed ({type(error).__name__})",
        reason="LOAD_FAILED",
        remedy="see the server's log for the place",
        resource=f"engine/{engine_id}",
    )


def start_failed(engine_id: str, error: EngineUnreachableError) -> Unavailable:
    """The error of an engine that did not start or did not take the artifact."""
    return Unavailable(
        f"engine {engine_id} could not be started ({error})",
        reason="ENGINE_START_FAILED",
        remedy="read the logs in Ray's folder (README, traps); check free memory, and whether "
        "there are as many GPUs and places for replicas as it asks for",
        retry_after=RETRY_SECONDS,
        resource=f"engine/{engine_id}",
    )


def engine_dead(engine_id: str) -> Unavailable:
    """The error of everything that was in flight when an engine died."""
    return Unavailable(
        f"engine {engine_id} ended unexpectedly",
        reason="ENGINE_DEAD",
        remedy="call LoadModel again; it starts a new engine",
        retry_after=RETRY_SECONDS,
        resource=f"engine/{engine_id}",
    )
