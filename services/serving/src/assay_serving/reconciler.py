"""Wanted models are loaded again after any loss.

A model is wanted from a LoadModel without a lease until it is unloaded, or pushed out by a request
for another one (a swap in its engine, an eviction of the engine), or cannot be loaded for a reason
that no retry mends. Which ones are wanted is in the database, so this also holds after a restart.
Models that were asked for with a lease are not: their holders ask again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from assay_core.errors import AssayError, is_retryable
from assay_core.logs import exception_facts, get_logger
from assay_serving import metrics
from assay_serving.endpoints import ENDPOINT_PREFIX
from assay_serving.models import LoadRequest, ModelManager
from assay_serving.registry import ModelRecord, ModelRegistry

LOOK_SECONDS = 2.0
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 300.0
CALM_SECONDS = 600.0
"""A model that was not lost for so long starts again at the first pause."""

_LOG = get_logger("assay.serving.reconciler")


@dataclass(slots=True)
class _Tries:
    """Loads of one model: how often in a row, when the last one was, when the next one may be."""

    count: int = 0
    last: float = 0.0
    due: float = 0.0
    told: bool = False


class Reconciler:
    """Looks every few seconds for wanted models that are not there.

    Args:
        models: Loads them.
        registry: Knows which are wanted.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        models: ModelManager,
        registry: ModelRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models = models
        self._registry = registry
        self._clock = clock
        self._tries: dict[str, _Tries] = {}

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - one failed look must not be the last
                _LOG.error("reconcile_failed", **exception_facts(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Load what is wanted, not there and due."""
        wanted = await self._registry.wanted()
        metrics.WANTED.set(len(wanted))
        for known in wanted:
            if not known.ready and known.record.is_terminal:
                await self._lost(known)

    async def _lost(self, known: ModelRecord) -> None:
        now = self._clock()
        tries = self._tries.setdefault(known.model.id, _Tries())
        if now - tries.last > CALM_SECONDS:
            tries.count = 0
        error = known.record.error
        if error is not None and not is_retryable(error):
            self._tell(known, tries, "given_up")
            await self._registry.unwant(known.model.id)
            return
        if tries.count and not tries.told:
            pause = min(FIRST_PAUSE_SECONDS * 2 ** (tries.count - 1), LONGEST_PAUSE_SECONDS)
            tries.due = now + pause
            self._tell(known, tries, "backing_off", seconds=pause)
            await self._registry.lost(known, f"lost; loading again in {pause:g} s", error)
        if now >= tries.due:
            tries.count, tries.last, tries.told = tries.count + 1, now, False
            metrics.RECONCILED.labels("loading").inc()
            _LOG.info("reconciling", model=known.model.id, phase=known.record.progress.phase)
            await self._load(known)

    def _tell(self, known: ModelRecord, tries: _Tries, outcome: str, **facts: object) -> None:
        if not tries.told:
            tries.told = True
            metrics.RECONCILED.labels(outcome).inc()
            reason = known.record.error.reason if known.record.error is not None else ""
            _LOG.warning(f"reconcile_{outcome}", model=known.model.id, reason=reason, **facts)

    async def _load(self, known: ModelRecord) -> None:
        model = known.model
        is_endpoint = model.artifact_uri.startswith(ENDPOINT_PREFIX)
        request = LoadRequest(
            model.project,
            artifact_uri="" if is_endpoint else model.artifact_uri,
            artifact_digest=model.artifact_digest,
            options=known.options,
            endpoint=model.artifact_uri.removeprefix(ENDPOINT_PREFIX) if is_endpoint else "",
        )
        try:
            await self._models.load(request)
        except AssayError as error:
            await self._registry.lost(known, "failed", error)
