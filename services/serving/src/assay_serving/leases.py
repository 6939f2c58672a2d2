"""Leases on one engine: who may generate with which artifact, and whose turn comes next.

A pure state machine with an injected clock; it does no I/O and starts nothing.

Requests are served first come, first served. While the head of the queue wants the artifact that is
resident it is granted at once, so holders of one artifact share it; a head that wants another one
waits until no lease is held, and everyone who came later waits behind it, also for the resident
artifact. So two studies that want different variants of one engine take turns, and neither starves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from assay_core.errors import FailedPrecondition


class LeaseState(StrEnum):
    """PENDING until the artifact is resident, then HELD, then ENDED (expired, released, taken)."""

    PENDING = "PENDING"
    HELD = "HELD"
    ENDED = "ENDED"


@dataclass(slots=True)
class Lease:
    """One request for an artifact. With `ttl` 0 it wants residency only and is never held."""

    id: str
    model_id: str
    digest: str
    ttl: float
    holder: str = ""
    state: LeaseState = LeaseState.PENDING
    expires_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Grant:
    """The artifact is resident and the request is served."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Load:
    """Nobody holds a lease: make this artifact resident, then ask again."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `seconds` have passed, or (None) before something changes."""

    seconds: float | None


Step = Grant | Load | Wait


class LeaseBook:
    """The leases and the queue of one engine.

    Args:
        clock: Seconds that never go back, such as `time.monotonic`.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._queue: deque[Lease] = deque()
        self._held: dict[str, Lease] = {}

    @property
    def idle(self) -> bool:
        """Whether nobody holds a lease and nobody waits for one."""
        return not self.held() and not self._queue

    @property
    def queued(self) -> int:
        """Requests that wait for their turn."""
        return len(self._queue)

    def held(self, digest: str | None = None) -> list[Lease]:
        """Leases held now, of one artifact or of any."""
        self._expire()
        return [x for x in self._held.values() if digest is None or x.digest == digest]

    def pending(self, digest: str) -> list[Lease]:
        """Requests for one artifact that wait for their turn."""
        return [x for x in self._queue if x.digest == digest]

    def request(self, lease: Lease) -> None:
        """Put a request at the end of the queue."""
        self._queue.append(lease)

    def step(self, resident: str | None) -> Step:
        """What to do next, given the artifact that is resident now.

        A `Grant` has taken effect when it is returned; a `Load` leaves its request at the head.
        """
        held = self.held()
        if not self._queue:
            return Wait(self._next_expiry(held))
        head = self._queue[0]
        if head.digest == resident:
            self._queue.popleft()
            if head.ttl > 0:
                head.state = LeaseState.HELD
                head.expires_at = self._clock() + head.ttl
                self._held[head.id] = head
            else:
                head.state = LeaseState.ENDED
            return Grant(head)
        if held:
            return Wait(self._next_expiry(held))
        return Load(head)

    def is_pending(self, lease_id: str) -> bool:
        """Whether a lease waits for its turn."""
        return any(waiting.id == lease_id for waiting in self._queue)

    def check(self, lease_id: str, digest: str) -> Lease:
        """The lease, if it gives the right to generate with `digest` now.

        Raises:
            FailedPrecondition: It is not held, still pending, or for another artifact.
        """
        lease = self._held_lease(lease_id)
        if lease.digest != digest:
            raise FailedPrecondition.of(
                "artifact_digest",
                f"is not the artifact that lease {lease_id} is for",
                reason="LEASE_FOR_ANOTHER_ARTIFACT",
                remedy="name the digest that LoadModel returned with the lease",
            )
        return lease

    def renew(self, lease_id: str, ttl: float) -> Lease:
        """Extend a lease to `ttl` seconds from now; a pending one just takes the new ttl.

        Raises:
            FailedPrecondition: It has ended.
        """
        for waiting in self._queue:
            if waiting.id == lease_id:
                waiting.ttl = ttl
                return waiting
        lease = self._held_lease(lease_id)
        lease.ttl = ttl
        lease.expires_at = self._clock() + ttl
        return lease

    def release(self, lease_id: str) -> list[Lease]:
        """End a lease, or withdraw a request that waits. Does nothing if it has ended.

        Returns:
            The requests that waited.
        """
        waited = [lease for lease in self._queue if lease.id == lease_id]
        self._end(lambda lease: lease.id == lease_id)
        return waited

    def end_artifact(self, digest: str) -> list[Lease]:
        """End every lease and request of one artifact: it failed to load, or is being unloaded."""
        return self._end(lambda lease: lease.digest == digest)

    def end_held(self) -> list[Lease]:
        """End every lease that is held, because the engine died. Requests in the queue stay."""
        return self._end(lambda lease: lease.state is LeaseState.HELD)

    def seconds_left(self, lease: Lease) -> float:
        """Time until the lease ends unless renewed; its whole ttl while it is pending."""
        if lease.state is LeaseState.PENDING:
            return lease.ttl
        return max(0.0, lease.expires_at - self._clock())

    def _held_lease(self, lease_id: str) -> Lease:
        self._expire()
        lease = self._held.get(lease_id)
        if lease is not None:
            return lease
        if self.is_pending(lease_id):
            raise FailedPrecondition(
                f"lease {lease_id} is not valid yet: its model is not resident",
                reason="LEASE_PENDING",
                field="lease_id",
                remedy="watch the model until it is resident (WatchModel)",
            )
        raise lease_not_held(lease_id)

    def _expire(self) -> None:
        now = self._clock()
        self._end(lambda lease: lease.state is LeaseState.HELD and lease.expires_at <= now)

    def _end(self, which: Callable[[Lease], bool]) -> list[Lease]:
        ended = [lease for lease in self._all() if which(lease)]
        for lease in ended:
            lease.state = LeaseState.ENDED
            self._held.pop(lease.id, None)
        self._queue = deque(x for x in self._queue if x.state is LeaseState.PENDING)
        return ended

    def _all(self) -> Iterator[Lease]:
        yield from self._held.values()
        yield from self._queue

    def _next_expiry(self, held: list[Lease]) -> float | None:
        if not held:
            return None
        return max(0.0, min(lease.expires_at for lease in held) - self._clock())


def lease_not_held(lease_id: str) -> FailedPrecondition:
    """The error of every use of a lease that has ended or was never given."""
    return FailedPrecondition(
        f"lease {lease_id} is not held: it expired, was released, or its engine ended",
        reason="LEASE_NOT_HELD",
        field="lease_id",
        remedy="call LoadModel again and use the new lease",
        resource=f"lease/{lease_id}",
    )
