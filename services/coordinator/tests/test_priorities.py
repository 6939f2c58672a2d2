"""Several studies at once on a real coordinator: who goes first at compression and the engine."""

import asyncio
import contextlib
import sqlite3

import pytest
from small_studies import model, spec  # noqa: F401

from assay_core.errors import InvalidArgument
from assay_core.pb import common_pb2
from assay_core.pb import coordination_pb2 as pb

S = common_pb2.State

pytestmark = pytest.mark.asyncio(loop_scope="module")


def of_model(uri, **changes):
    """The small study, on another model."""
    message = spec(**changes)
    message.models[0].uri = uri
    return message


def queued_for(what):
    return lambda study: any(variant.phase == f"queued for {what}" for variant in study.variants)


def line(coordinator, resource):
    """Who has a place and who waits, as the coordinator's database says."""
    (path,) = coordinator.home.glob("db/coordinator.sqlite")
    with contextlib.closing(sqlite3.connect(path)) as database:
        rows = database.execute(
            "SELECT study_id, owner, granted FROM study_turns WHERE resource = ?", (resource,)
        )
        return rows.fetchall()


async def served(coordinator, resource, studies, release):
    """The order in which places are given, each given back when every study is in line again."""
    left = {study.meta.id: {variant.key for variant in study.variants} for study in studies}
    order = []
    while any(left.values()):
        async with asyncio.timeout(120):
            while True:
                rows = line(coordinator, resource)
                holding = [(study, key) for study, key, granted in rows if granted]
                waiting = {study for study, _, granted in rows if not granted}
                wanted = {study for study, keys in left.items() if keys - {k for _, k in holding}}
                if holding and holding[0][1] in left[holding[0][0]] and wanted <= waiting:
                    break
                await asyncio.sleep(0.02)
        assert len(holding) == 1
        ((study, key),) = holding
        left[study].remove(key)
        order.append(key)
        uri, label, _ = key.split("/")
        release(uri, label)
    return order


async def three_studies(coordinator, name, what):
    """Two that are equal and then an urgent one; the first has the only place."""
    uris = (f"{name}-a", f"{name}-b", f"{name}-urgent")
    studies = []
    for uri, priority in zip(uris, (0, 0, 7), strict=True):
        study = await coordinator.create(of_model(uri, priority=priority))
        studies.append(await coordinator.until(study.meta.id, queued_for(what)))
    return studies


# The first study keeps its place until all are in line; then places go round.
ORDER = [
    "a/dense", "urgent/dense", "urgent/gptq-8bit-g128", "urgent/gptq-3bit-g128",
    "a/gptq-8bit-g128", "b/dense", "a/gptq-3bit-g128", "b/gptq-8bit-g128", "b/gptq-3bit-g128",
]  # fmt: skip


async def test_a_higher_priority_goes_first_and_equals_take_turns(world, coordinator, model):  # noqa: F811
    world.compression.gate.hold()
    studies = await three_studies(coordinator, model, "compression")
    order = await served(
        coordinator, "compression", studies,
        lambda *variant: world.compression.gate.release(world.artifact(*variant)),
    )  # fmt: skip
    assert order == [f"{model}-{each}/seed0" for each in ORDER]
    ended = await asyncio.gather(*(coordinator.finished(study.meta.id) for study in studies))
    assert all(study.meta.state == S.STATE_SUCCEEDED for study in ended)
    assert ended[2].spec.priority == 7


async def test_at_the_engine_too_and_one_variant_at_a_time(world, coordinator, model):  # noqa: F811
    for evaluator in world.evaluators.values():
        evaluator.gate.hold()
    studies = await three_studies(coordinator, model, "an engine")
    assert len(world.serving.held()) == 1

    def release(*variant):
        for evaluator in world.evaluators.values():
            evaluator.gate.release(world.artifact(*variant))

    order = await served(coordinator, "engine", studies, release)
    assert order == [f"{model}-{each}/seed0" for each in ORDER]
    await asyncio.gather(*(coordinator.finished(study.meta.id) for study in studies))
    assert not world.serving.held()


async def test_a_priority_out_of_range_is_refused_by_its_field(coordinator, model):  # noqa: F811
    message = spec()
    message.priority = 101
    with pytest.raises(InvalidArgument) as caught:
        await coordinator.create(message)
    assert caught.value.violations[0].field == "spec.priority"


async def test_a_cancelled_study_leaves_the_line(world, coordinator, model):  # noqa: F811
    first, second = f"{model}-1", f"{model}-2"
    world.compression.gate.hold(world.artifact(first, "dense"))
    holding = await coordinator.create(of_model(first))
    await coordinator.until(
        holding.meta.id, lambda study: any(v.phase == "compressing" for v in study.variants)
    )
    waiting = await coordinator.create(of_model(second))
    await coordinator.until(waiting.meta.id, queued_for("compression"))
    await coordinator.call("CancelStudy", pb.CancelStudyRequest(id=holding.meta.id))
    ended = await coordinator.finished(waiting.meta.id)
    assert ended.meta.state == S.STATE_SUCCEEDED
