"""Gauges of studies: how far those under way are, and the newest scores.

They are read from the database every few seconds, so that a restart loses nothing and every replica
says the same (queries take the maximum over replicas). Their labels name studies, models and
variants, whose number nothing bounds, so each gauge keeps the newest few series only; Prometheus
has the history.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping

from prometheus_client import Gauge
from sqlalchemy.exc import SQLAlchemyError

from assay_coordinator import metrics
from assay_coordinator.domain.progress import EvaluationStatus, VariantStatus, total_progress
from assay_coordinator.store import StudyRecord
from assay_coordinator.workflows.context import Context
from assay_core.errors import AssayError
from assay_core.logs import get_logger

MOST_STUDIES = 50
MOST_SCORES = 500

Labels = tuple[str, ...]
Finished = tuple[list[VariantStatus], list[EvaluationStatus], str]
"""Variants and evaluations of a study that ended, and its main parser version."""

_EVERY_SECONDS = 5.0
_UNDER_WAY = "state = QUEUED OR state = RUNNING OR state = WAITING_FOR_MODEL"
_NEWEST = "update_time desc"
_LOG = get_logger("assay.coordinator.gauges")


class StudyGauges:
    """Keeps the gauges as the database is, until `run` is cancelled."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._shown: dict[Gauge, set[Labels]] = {}
        self._finished: dict[tuple[str, int], Finished] = {}

    async def run(self) -> None:
        """Refresh for ever; a database that is away is asked again."""
        while True:
            try:
                await self.refresh()
            except (AssayError, SQLAlchemyError) as error:
                _LOG.warning("gauges_not_refreshed", error=type(error).__name__)
            await asyncio.sleep(_EVERY_SECONDS)

    async def refresh(self) -> None:
        """Read the newest studies and set every gauge."""
        await self._refresh_active()
        await self._refresh_scores()

    async def _refresh_active(self) -> None:
        records = self._context.records
        page = await records.list(
            None, page_size=MOST_STUDIES, filter_text=_UNDER_WAY, order_by=_NEWEST
        )
        states: dict[Labels, float] = {}
        completed: dict[Labels, float] = {}
        expected: dict[Labels, float] = {}
        eta: dict[Labels, float] = {}
        # All of them are counted; the newest have series of their own.
        async for record in records.every(None, filter_text=_UNDER_WAY):
            state = (record.state.value,)
            states[state] = states.get(state, 0) + 1
        for record in page.records:
            labels = (record.id, record.spec.name)
            progress = total_progress(
                len(await self._context.store.variants(record.id)),
                len(record.spec.dimensions),
                await self._context.store.evaluations(record.id),
                elapsed_seconds=_elapsed(record),
            )
            completed[labels], expected[labels] = progress.completed, progress.total
            if progress.eta_seconds is not None:
                eta[labels] = progress.eta_seconds
        self._show(metrics.ACTIVE_STUDIES, states)
        self._show(metrics.STUDY_COMPLETIONS, completed)
        self._show(metrics.STUDY_EXPECTED, expected)
        self._show(metrics.STUDY_ETA, eta)

    async def _refresh_scores(self) -> None:
        page = await self._context.records.list(
            None, page_size=MOST_STUDIES, filter_text="state = SUCCEEDED", order_by=_NEWEST
        )
        # A study that ended changes no more, but for its version: what was read once stays.
        self._finished = {
            (record.id, record.version): self._finished.get((record.id, record.version))
            or await self._read(record)
            for record in page.records
        }
        self._show(metrics.SCORES, newest_scores(self._finished.values()))

    async def _read(self, record: StudyRecord) -> Finished:
        store = self._context.store
        variants, evaluations = await asyncio.gather(
            store.variants(record.id), store.evaluations(record.id)
        )
        return variants, evaluations, record.spec.main_parser

    def _show(self, gauge: Gauge, values: Mapping[Labels, float]) -> None:
        """Set the series of a gauge; those of before go after the new ones are there."""
        for labels, value in values.items():
            gauge.labels(*labels).set(value)
        for gone in self._shown.get(gauge, set()) - values.keys():
            gauge.remove(*gone)
        self._shown[gauge] = set(values)


def newest_scores(studies: Iterable[Finished]) -> dict[Labels, float]:
    """Scores by model, variant, seed and dimension; of several the first. Pure.

    Args:
        studies: Newest first.
    """
    found: dict[Labels, float] = {}
    for variants, evaluations, parser in studies:
        by_key = {variant.key: variant for variant in variants}
        for evaluation in evaluations:
            variant = by_key.get(evaluation.variant_key)
            score = evaluation.score(parser)
            if variant is None or score is None or score.value is None:
                continue
            seed = str(variant.calibration_seed)
            labels = (variant.model_name, variant.label, seed, evaluation.dimension)
            found.setdefault(labels, score.value)
            if len(found) == MOST_SCORES:
                return found
    return found


def _elapsed(record: StudyRecord) -> float | None:
    started = record.status.started_at
    return None if started is None else time.time() - started
