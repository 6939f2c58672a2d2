"""What the coordinator counts."""

from __future__ import annotations

from prometheus_client import REGISTRY

from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.metrics import study_ended
from assay_coordinator.statistics.decision import Verdict
from assay_core.resources import State


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_study_counts_once_and_its_comparisons_by_whole_dimensions() -> None:
    whole = Comparison(
        variant_key="v", reference_key="r", dimension="ethics", metric="m", parser_version="p",
        verdict=Verdict.FAIL,
    )  # fmt: skip
    part = whole.model_copy(update={"scenario": "jailbreak_1"})
    unjudged = whole.model_copy(update={"verdict": None})
    fails = {"dimension": "ethics", "verdict": "fail"}
    unclear = {"dimension": "ethics", "verdict": "inconclusive"}
    name = "assay_coordinator_comparisons_total"
    before = sample(name, **fails), sample(name, **unclear)
    studies = sample("assay_coordinator_studies_total", state="SUCCEEDED")
    study_ended(State.SUCCEEDED, [whole, part, unjudged])
    assert (sample(name, **fails), sample(name, **unclear)) == (before[0] + 1, before[1] + 1)
    assert sample("assay_coordinator_studies_total", state="SUCCEEDED") == studies + 1
