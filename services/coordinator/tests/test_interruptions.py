"""Studies that are killed, cancelled, paused, or lose their lease: nothing is done twice."""

import asyncio

import pytest
import small_studies
from conftest import FINAL
from small_studies import (
    compressing,
    degrade,
    evaluating,
    generated,
    generated_twice,
    half_way,
    loading,
    loads,
    made,
    spec,
)

from assay_core.errors import (
    FailedPrecondition,
)
from assay_core.pb import common_pb2
from assay_core.pb import coordination_pb2 as pb

S = common_pb2.State
model = small_studies.model  # the fixture
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_killed_at_every_stage_it_goes_on_where_it_was(world, coordinator, model):
    degrade(world)
    world.compression.gate.hold()
    world.serving.gate.hold()
    world.hold("gptq-8bit-g128")
    study = await coordinator.create(spec())
    for moment, gate in (
        (compressing, world.compression.gate.open),
        (loading, world.serving.gate.open),
        (evaluating, world.open),
    ):
        await coordinator.until(study.meta.id, moment)
        coordinator.kill()
        await coordinator.start()
        gate()
    study = await coordinator.finished(study.meta.id)

    assert study.meta.state == S.STATE_SUCCEEDED
    assert not generated_twice(world)
    assert made(world) == ["dense", "gptq-3bit-g128", "gptq-8bit-g128"]
    assert not world.serving.held()
    comparisons = await coordinator.call(
        "ListComparisons", pb.ListComparisonsRequest(study_id=study.meta.id)
    )
    assert len(comparisons.comparisons) == 2 * 2 * 3


async def test_a_terminated_coordinator_gives_its_lease_back_and_goes_on_later(world, coordinator):
    study = await half_way(world, coordinator)
    released = len(world.serving.released)
    assert await coordinator.terminate() == 0
    assert len(world.serving.released) == released + 1
    assert not world.serving.held()
    world.open()
    await coordinator.start()
    study = await coordinator.finished(study.meta.id)
    assert study.meta.state == S.STATE_SUCCEEDED
    assert not generated_twice(world)


async def test_cancel_frees_the_engine_and_resume_runs_only_the_rest(world, coordinator):
    study = await half_way(world, coordinator)
    answer = await coordinator.call("CancelStudy", pb.CancelStudyRequest(id=study.meta.id))
    assert answer.study.meta.state == S.STATE_CANCELLING
    study = await coordinator.finished(study.meta.id)
    assert study.meta.state == S.STATE_CANCELLED
    assert not world.serving.held()
    running = [
        e
        for evaluator in world.evaluators.values()
        for e in evaluator.evaluations.values()
        if e.meta.state not in (S.STATE_SUCCEEDED, S.STATE_CANCELLED)
    ]
    assert not running
    states = {e.state for v in study.variants for e in v.evaluations}
    assert states == {S.STATE_SUCCEEDED, S.STATE_CANCELLED}
    before = sum(e.progress.completed for v in study.variants for e in v.evaluations)

    # Cancelling again is nothing new.
    again = await coordinator.call("CancelStudy", pb.CancelStudyRequest(id=study.meta.id))
    assert again.study.meta.state == S.STATE_CANCELLED

    world.open()
    await coordinator.call("ResumeStudy", pb.ResumeStudyRequest(id=study.meta.id))
    study = await coordinator.finished(study.meta.id)
    assert study.meta.state == S.STATE_SUCCEEDED
    assert not generated_twice(world)
    # Time left is judged by what this attempt makes, in its own time.
    assert sum(e.completions_reused for v in study.variants for e in v.evaluations) == before
    with pytest.raises(FailedPrecondition) as refused:
        await coordinator.call("CancelStudy", pb.CancelStudyRequest(id=study.meta.id))
    assert refused.value.reason == "STUDY_STATE"


async def test_pause_keeps_what_is_done_and_resume_goes_on(world, coordinator):
    study = await half_way(world, coordinator)
    await coordinator.call("PauseStudy", pb.PauseStudyRequest(id=study.meta.id))
    study = await coordinator.until(study.meta.id, lambda s: s.meta.state == S.STATE_PAUSED)
    assert not world.serving.held()
    count = len(generated(world))
    world.open()
    await coordinator.call("ResumeStudy", pb.ResumeStudyRequest(id=study.meta.id))
    study = await coordinator.finished(study.meta.id)
    assert study.meta.state == S.STATE_SUCCEEDED
    assert len(generated(world)) > count
    assert not generated_twice(world)


async def test_a_lost_lease_is_asked_for_again(world, coordinator, model):
    study = await half_way(world, coordinator)
    world.serving.forget()
    world.open()
    study = await coordinator.finished(study.meta.id)
    assert study.meta.state == S.STATE_SUCCEEDED
    assert loads(world).count(world.artifact(model, "gptq-8bit-g128")) == 2
    assert not generated_twice(world)


async def test_a_load_that_ended_with_its_lease_is_asked_for_again(world, coordinator, model):
    world.serving.gate.hold(world.artifact(model, "dense"))
    study = await coordinator.create(spec())
    await coordinator.until(study.meta.id, loading)
    asked = len(world.serving.models)
    world.serving.leases.clear()
    for waiting in world.serving.models.values():
        if waiting.meta.state not in FINAL:
            waiting.meta.state = S.STATE_CANCELLED
    async with asyncio.timeout(60):
        while len(world.serving.models) == asked:  # noqa: ASYNC110 - a peer has no event
            await asyncio.sleep(0.05)
    world.serving.gate.open()
    study = await coordinator.finished(study.meta.id)
    assert study.meta.state == S.STATE_SUCCEEDED
    assert all(variant.state == S.STATE_SUCCEEDED for variant in study.variants)
    assert not world.serving.held()


async def test_two_studies_that_want_one_engine_both_complete(world, coordinator):
    first = await coordinator.create(spec())
    second = await coordinator.create(spec(seed=7))
    for study in (first, second):
        done = await coordinator.finished(study.meta.id)
        assert done.meta.state == S.STATE_SUCCEEDED
    assert not world.serving.held()
