"""The classifiers of a server: found by id, one message at a time each, off the event loop."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from assay_core.errors import NotFound
from assay_scoring import metrics

BLANK = "blank"
SCORER_ERROR = "scorer_error"
_SCORED = "scored"


class Classifier(Protocol):
    """What the service needs of a classifier."""

    id: str
    summary: str
    licence: str

    def score(self, texts: Sequence[str]) -> list[float | None]:
        """Probabilities of texts that are not blank; None where it fails. Blocks."""


@dataclass(frozen=True)
class Scored:
    """A text's score, or why it has none."""

    value: float | None
    missing_reason: str = ""


class Scorers:
    """Classifiers by id; the first is the default.

    Args:
        classifiers: At least one.
    """

    def __init__(self, classifiers: Sequence[Classifier]) -> None:
        self._by_id: Mapping[str, Classifier] = {each.id: each for each in classifiers}
        # A classifier uses the whole device, so two messages at a time would only share it. Each
        # has one thread, and no lock: who leaves gives a lock up while the thread goes on.
        self._threads = {
            each.id: ThreadPoolExecutor(1, thread_name_prefix=f"assay-{each.id}")
            for each in classifiers
        }

    @property
    def classifiers(self) -> tuple[Classifier, ...]:
        """All, default first."""
        return tuple(self._by_id.values())

    def resolve(self, scorer: str) -> str:
        """The id of a scorer; empty means the default one.

        Raises:
            NotFound: If there is none of that id.
        """
        if not scorer:
            return next(iter(self._by_id))
        if scorer not in self._by_id:
            raise NotFound(
                f"no scorer {scorer!r} here",
                field="scorer",
                reason="UNKNOWN_SCORER",
                remedy=f"use one of {', '.join(self._by_id)}",
            )
        return scorer

    async def score(self, scorer: str, texts: Sequence[str]) -> list[Scored]:
        """Scores the texts of a message, in order."""
        kept = [text for text in texts if text.strip()]
        values: Sequence[float | None] = ()
        with metrics.BATCH_SECONDS.labels(scorer).time():
            if kept:
                values = await asyncio.get_running_loop().run_in_executor(
                    self._threads[scorer], self._by_id[scorer].score, kept
                )
        remaining = iter(values)
        scored = [_scored(next(remaining)) if t.strip() else Scored(None, BLANK) for t in texts]
        for each in scored:
            metrics.TEXTS.labels(scorer, each.missing_reason or _SCORED).inc()
        return scored


def _scored(value: float | None) -> Scored:
    """A probability; anything else is a failure of the classifier and never a low score."""
    if value is not None and math.isfinite(value) and 0 <= value <= 1:
        return Scored(value)
    return Scored(None, SCORER_ERROR)
