"""Progress of an evaluation, as its record shows it."""

from __future__ import annotations

import time

from assay_core.resources import Progress, ResourceStore

_PROGRESS_SECONDS = 0.5


class Meter:
    """Progress of an evaluation, written to its record at most twice a second."""

    def __init__(self, records: ResourceStore, evaluation_id: str, done: int, total: int) -> None:
        self._records = records
        self._id = evaluation_id
        self._done = self._first = done
        self._total = total
        self._began = time.monotonic()
        self._shown = 0.0

    async def add(self, completions: int) -> None:
        """Counts completions that became durable."""
        self._done += completions
        if time.monotonic() - self._shown >= _PROGRESS_SECONDS:
            await self.show("generating")

    async def show(self, phase: str) -> None:
        """Writes the progress."""
        self._shown = time.monotonic()
        await self._records.update(self._id, progress=self.progress(phase))

    def progress(self, phase: str) -> Progress:
        """Progress now; the estimate assumes the rate so far."""
        done, left = self._done - self._first, max(0, self._total - self._done)
        rate = done / max(time.monotonic() - self._began, 1e-9)
        return Progress(
            completed=min(self._done, self._total),
            total=self._total,
            unit="completions",
            phase=phase,
            eta_seconds=left / rate if done and left else None,
        )
