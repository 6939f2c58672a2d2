"""What the coordinator counts, and what it shows of its studies."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest_asyncio
from prometheus_client import REGISTRY

from assay_coordinator import study_gauges
from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.domain.progress import (
    EvaluationStatus,
    Progress,
    ScoreFacts,
    VariantStatus,
)
from assay_coordinator.domain.study import StudySpec
from assay_coordinator.metrics import study_ended
from assay_coordinator.statistics.decision import Verdict
from assay_coordinator.store import StudyRecords, StudyStore
from assay_coordinator.study_gauges import StudyGauges, newest_scores
from assay_coordinator.workflows.context import Context
from assay_core.resources import State

PREFIX = "assay_coordinator_"


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def series(name: str) -> dict[tuple[str, ...], float]:
    """Values of a gauge by its labels, in the order of their names."""
    return {
        tuple(each.labels[label] for label in sorted(each.labels)): each.value
        for family in REGISTRY.collect()
        for each in family.samples
        if each.name == PREFIX + name
    }


class Database:
    """Studies as the coordinator stores them."""

    def __init__(self, url: str) -> None:
        self.records = StudyRecords(url)
        self.store = StudyStore(url)
        # The gauges read the two stores, and nothing else of a context.
        self.gauges = StudyGauges(cast(Context, self))

    async def study(self, name: str, state: State, score: float | None = None) -> str:
        """A study of one model, dense and 4-bit, with 30 of 40 completions in one dimension."""
        spec = StudySpec.model_validate(
            {"name": name, "models": ["demo"], "pack": "demo", "dimensions": ["ethics"],
             "recipes": ["dense", {"rtn": {"bits": 4}}]}
        )  # fmt: skip
        await self.records.create(name, "p", name, spec)
        variants = [variant(key) for key in ("demo/dense/seed0", "demo/rtn-4/seed0")]
        for each in variants:
            await self.store.put_variant(name, each)
        await self.store.put_evaluation(name, evaluation(variants[0].key, score))
        await self.records.update(name, state=state, started_at=time.time() - 60)
        return name


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    found = Database(f"sqlite:///{tmp_path / 'coordinator.sqlite'}")
    yield found
    await found.records.close()
    await found.store.close()


def variant(key: str) -> VariantStatus:
    model, label, _ = key.split("/")
    return VariantStatus(
        key=key, position=0, model_name=model, model_uri=model, method=label, label=label,
        calibration_seed=0, reference_key="demo/dense/seed0",
    )  # fmt: skip


def evaluation(key: str, score: float | None) -> EvaluationStatus:
    return EvaluationStatus(
        variant_key=key,
        dimension="ethics",
        progress=Progress(completed=30, total=40),
        scores=(ScoreFacts(metric="ethics", parser_version="assay-2026", value=score),),
    )


async def test_a_study_under_way_shows_its_progress_and_the_time_left(database: Database) -> None:
    await database.study("one", State.RUNNING)
    await database.study("two", State.PAUSED)
    await database.gauges.refresh()
    assert series("active_studies") == {("RUNNING",): 1}
    assert series("study_completions") == {("one", "one"): 30}
    # The second variant has not begun and counts as the first.
    assert series("study_expected_completions") == {("one", "one"): 80}
    assert 99 < series("study_eta_seconds")["one", "one"] < 110  # 60 s / 30 * 50


async def test_a_study_that_ended_leaves_its_scores_and_no_progress(database: Database) -> None:
    one = await database.study("one", State.RUNNING, 41.5)
    await database.gauges.refresh()
    assert series("score_points") == {}
    await database.records.update(one, state=State.SUCCEEDED)
    await database.gauges.refresh()
    assert series("study_completions") == series("active_studies") == {}
    assert series("score_points") == {("ethics", "demo", "0", "dense"): 41.5}


async def test_the_newest_score_of_a_variant_counts(database: Database) -> None:
    await database.study("old", State.SUCCEEDED, 41.5)
    await database.study("new", State.SUCCEEDED, 43.5)
    await database.gauges.refresh()
    assert series("score_points") == {("ethics", "demo", "0", "dense"): 43.5}


async def test_as_many_studies_have_series_as_are_allowed(database: Database, monkeypatch) -> None:
    monkeypatch.setattr(study_gauges, "MOST_STUDIES", 2)
    for name in ("one", "two", "three"):
        await database.study(name, State.RUNNING)
    await database.gauges.refresh()
    assert set(series("study_completions")) == {("three", "three"), ("two", "two")}
    assert series("active_studies")[("RUNNING",)] == 3


def test_as_many_scores_have_series_as_are_allowed(monkeypatch) -> None:
    monkeypatch.setattr(study_gauges, "MOST_SCORES", 3)
    keys = [f"demo/recipe-{number}/seed0" for number in range(5)]
    variants = [variant(key) for key in keys]
    study = (variants, [evaluation(key, 50.0) for key in keys], "assay-2026")
    assert len(newest_scores([study])) == 3


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
