"""Metrics of the coordinator; see `assay_core.metrics` for the ones of every service."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter

from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.statistics.decision import Verdict
from assay_core.resources import State

STUDIES = Counter(
    "assay_coordinator_studies_total", "Studies by the state they reached.", ("state",)
)
COMPARISONS = Counter(
    "assay_coordinator_comparisons_total",
    "Whole dimensions of variants compared with their parents, pass, fail or inconclusive.",
    ("dimension", "verdict"),
)


def study_ended(state: State, comparisons: Iterable[Comparison] = ()) -> None:
    """Counts a study's end, and its comparisons of whole dimensions."""
    STUDIES.labels(state=state.value).inc()
    for each in comparisons:
        if not each.scenario:
            verdict = each.verdict or Verdict.INCONCLUSIVE
            COMPARISONS.labels(dimension=each.dimension, verdict=verdict.value).inc()
