"""What the records are still to be told of an engine; they can be away for a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from assay_core.errors import AssayError
from assay_serving.engine_ports import EngineView, LoadFacts, ModelEvents


class EngineNews:
    """Of each artifact what happened to it last, until the records know.

    Args:
        engine: Whose artifacts they are.
        events: The records.
        again: Called when they could not be told, so that somebody tells them later.
    """

    def __init__(self, engine: EngineView, events: ModelEvents, again: Callable[[], None]) -> None:
        self._engine = engine
        self._events = events
        self._again = again
        self._untold: dict[str, Callable[[], Awaitable[None]]] = {}

    def resident(self, digest: str, load: LoadFacts) -> None:
        """A token came out of it."""
        self._untold[digest] = partial(self._events.resident, self._engine, digest, load)

    def failed(self, digest: str, error: AssayError) -> None:
        """It could not be loaded, or its engine died."""
        self._untold[digest] = partial(self._events.failed, self._engine, digest, error)

    def left(self, digest: str, why: str) -> None:
        """It is not resident any more."""
        self._untold[digest] = partial(self._events.left, self._engine, digest, why)

    def withdrawn(self, digest: str) -> None:
        """A request for it was taken back; whatever else is untold says more."""
        fact = partial(self._events.withdrawn, self._engine, digest)
        self._untold.setdefault(digest, fact)

    async def tell(self) -> None:
        """Tell everything.

        Raises:
            Unavailable: The records are away.
        """
        try:
            for digest in list(self._untold):
                # What is so by now: another call may have told it, or something newer.
                if (fact := self._untold.get(digest)) is not None:
                    await fact()
                    if self._untold.get(digest) is fact:
                        del self._untold[digest]
        except BaseException:
            self._again()
            raise
