"""What of another project can be seen: nothing, and not whether it is there."""

from __future__ import annotations

import asyncio
import contextvars

import pytest
import pytest_asyncio

from assay_coordinator.canaries import Canaries
from assay_coordinator.domain.progress import VariantStatus
from assay_coordinator.domain.study_file import load_study
from assay_coordinator.settings import CoordinatorSettings
from assay_coordinator.store import StudyRecords, StudyStore
from assay_coordinator.studies import Studies
from assay_coordinator.workflows.context import Context
from assay_core.auth import Principal, Scope, set_principal
from assay_core.errors import InvalidArgument, NotFound
from assay_core.storage import ObjectStore

KEY = "demo/dense/seed0"
SPEC = load_study("name: s\nmodels: [demo]\nrecipes: [dense]\ndimensions: [ethics]\npack: demo\n")


@pytest_asyncio.fixture
async def studies(tmp_path):
    url = f"sqlite:///{tmp_path / 'db.sqlite'}"
    store, records = StudyStore(url), StudyRecords(url)
    context = Context(
        settings=CoordinatorSettings(home=tmp_path),
        records=records,
        store=store,
        peers=None,
        data=ObjectStore(str(tmp_path / "data")),
        turns=None,
    )
    await records.create("study-a", "team-a", "r", SPEC)
    variant = VariantStatus(
        key=KEY, position=0, model_name="demo", model_uri="demo", method="dense", label="dense",
        calibration_seed=0, reference_key=KEY, variant_id="variant-1",
    )  # fmt: skip
    await store.put_variant("study-a", variant)
    yield Studies(context, None)
    await records.close()
    await store.close()


def as_team(*projects):
    """A context in which the caller has these projects."""
    context = contextvars.copy_context()
    principal = Principal("someone", Scope.RUN, frozenset(projects))
    context.run(set_principal, principal)
    return context


async def outcome(action, context):
    """Runs a coroutine function in a context; what it raises."""
    with pytest.raises((NotFound, InvalidArgument)) as refused:
        await asyncio.create_task(action(), context=context)
    return refused.value


async def test_a_study_is_visible_to_its_project_and_to_who_has_all(studies):
    for projects in (("team-a",), ("team-b", "team-a"), ("*",)):
        await asyncio.create_task(studies.check_visible("study-a"), context=as_team(*projects))


async def test_a_study_of_another_project_is_not_found_as_one_that_is_not_there(studies):
    other = await outcome(lambda: studies.check_visible("study-a"), as_team("team-b"))
    absent = await outcome(lambda: studies.check_visible("study-z"), as_team("team-b"))
    assert isinstance(other, NotFound)
    assert isinstance(absent, NotFound)
    assert KEY not in other.text


async def test_a_canary_of_anothers_study_is_refused_as_one_of_no_study(studies):
    canaries = Canaries(studies._context, None, studies)

    def named(study):
        return lambda: canaries._of_study("team-b", f"{study}:{KEY}", "spec.variant")

    other = await outcome(named("study-a"), as_team("team-b"))
    absent = await outcome(named("study-z"), as_team("team-b"))
    assert (other.reason, other.text) == (absent.reason, absent.text)
