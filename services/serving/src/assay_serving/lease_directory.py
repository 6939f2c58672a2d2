"""The leases this server has given: which engine each is on, and which request asked for it."""

from __future__ import annotations

from assay_core.errors import AlreadyExists
from assay_serving.engine_host import Engine
from assay_serving.leases import Lease, LeaseState, lease_not_held

RequestKey = tuple[str, str]
"""Project and request id."""


class LeaseDirectory:
    """Leases by id and by request, until they have ended."""

    def __init__(self) -> None:
        self._leases: dict[str, tuple[Lease, Engine]] = {}
        self._requests: dict[RequestKey, Lease] = {}

    def __contains__(self, lease_id: str) -> bool:
        return lease_id in self._leases

    def add(self, lease: Lease, engine: Engine, request: RequestKey | None = None) -> None:
        """Keep a lease; forgets those that have ended."""
        self._forget_ended()
        self._leases[lease.id] = (lease, engine)
        if request is not None:
            self._requests[request] = lease

    def get(self, lease_id: str) -> tuple[Lease, Engine]:
        """A lease and its engine.

        Raises:
            FailedPrecondition: It is not known here.
        """
        known = self._leases.get(lease_id)
        if known is None:
            raise lease_not_held(lease_id)
        return known

    def remove(self, lease_id: str) -> Engine | None:
        """Forget a lease; returns its engine, None if there was no such lease."""
        known = self._leases.pop(lease_id, None)
        return None if known is None else known[1]

    def seconds_left(self, lease: Lease) -> float:
        """Time until a lease ends; 0 for one that is not known here any more."""
        known = self._leases.get(lease.id)
        return 0.0 if known is None else known[1].book.seconds_left(lease)

    def repeated(self, request: RequestKey, model_id: str) -> Lease | None:
        """The lease that the same request was given before, while it is pending or held.

        Raises:
            AlreadyExists: The request id is in use for another model.
        """
        lease = self._requests.get(request)
        if lease is None or lease.state is LeaseState.ENDED:
            return None
        if lease.model_id != model_id:
            raise AlreadyExists(
                f"request_id {request[1]} is in use for another artifact",
                reason="REQUEST_ID_REUSED",
                field="request_id",
                remedy="use a new id for a new request",
            )
        # A look at the book ends what has expired.
        self._leases[lease.id][1].book.held()
        return None if self._has_ended(lease) else lease

    def _forget_ended(self) -> None:
        self._leases = {i: x for i, x in self._leases.items() if not self._has_ended(x[0])}
        self._requests = {k: x for k, x in self._requests.items() if not self._has_ended(x)}

    @staticmethod
    def _has_ended(lease: Lease) -> bool:
        return lease.state is LeaseState.ENDED
