"""Metrics of the coordinator; see `assay_core.metrics` for the ones of every service."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter, Gauge

from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.statistics.decision import Verdict
from assay_core.resources import State

STUDIES = Counter(
    "assay_coordinator_studies_total", "Studies by the state they reached.", ("state",)
)
CANARIES = Counter(
    "assay_coordinator_canaries_total", "Canaries by the state they reached.", ("state",)
)
COMPARISONS = Counter(
    "assay_coordinator_comparisons_total",
    "Whole dimensions of variants compared with their parents, pass, fail or inconclusive.",
    ("dimension", "verdict"),
)
# Read from the database by `study_gauges`, which says how many series there may be of each.
ACTIVE_STUDIES = Gauge("assay_coordinator_active_studies", "Studies under way.", ("state",))
STUDY_COMPLETIONS = Gauge(
    "assay_coordinator_study_completions",
    "Completions that a study under way has, those found stored included.",
    ("study", "name"),
)
STUDY_EXPECTED = Gauge(
    "assay_coordinator_study_expected_completions",
    "Completions that a study under way will have, as far as that is known.",
    ("study", "name"),
)
STUDY_ETA = Gauge(
    "assay_coordinator_study_eta_seconds",
    "Estimated time to the end of a study under way.",
    ("study", "name"),
)
SCORES = Gauge(
    "assay_coordinator_score_points",
    "Newest score of a variant in a dimension, 0 to 100, higher is better.",
    ("model", "variant", "seed", "dimension"),
)


def study_ended(
    state: State, comparisons: Iterable[Comparison] = (), *, kind: str = "study"
) -> None:
    """Counts the end of a study or of a canary, and its comparisons of whole dimensions."""
    (CANARIES if kind == "canary" else STUDIES).labels(state=state.value).inc()
    for each in comparisons:
        if not each.scenario:
            verdict = each.verdict or Verdict.INCONCLUSIVE
            COMPARISONS.labels(dimension=each.dimension, verdict=verdict.value).inc()
