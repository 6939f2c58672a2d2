"""Several studies at once on a real coordinator: who goes first at compression and the engine."""

import asyncio

import pytest
from test_workflows import model, spec  # noqa: F401

from assay_core.errors import InvalidArgument
from assay_core.pb import common_pb2
from assay_core.pb import coordination_pb2 as pb

S = common_pb2.State
LABELS = ("dense", "gptq-8bit-g128", "gptq-3bit-g128")

pytestmark = pytest.mark.asyncio(loop_scope="module")


def of_model(uri, **changes):
    """The small study, on another model."""
    message = spec(**changes)
    message.models[0].uri = uri
    return message


def queued_for(what):
    return lambda study: any(variant.phase == f"queued for {what}" for variant in study.variants)


async def test_a_higher_priority_goes_first_and_equals_take_turns(world, coordinator, model):  # noqa: F811
    a, b, urgent = f"{model}-a", f"{model}-b", f"{model}-urgent"
    world.compression.gate.hold(*(world.artifact(a, label) for label in LABELS))
    begun = len(world.compression.made)
    studies = [await coordinator.create(of_model(a))]
    await coordinator.until(
        studies[0].meta.id, lambda study: any(v.phase == "compressing" for v in study.variants)
    )
    for uri, priority in ((b, 0), (urgent, 7)):
        studies.append(await coordinator.create(of_model(uri, priority=priority)))
        await coordinator.until(studies[-1].meta.id, queued_for("compression"))
    world.compression.gate.open()
    ended = await asyncio.gather(*(coordinator.finished(study.meta.id) for study in studies))
    assert all(study.meta.state == S.STATE_SUCCEEDED for study in ended)
    assert ended[2].spec.priority == 7

    made = world.compression.made[begun:]
    assert [uri for uri, _ in made] == [a, urgent, urgent, urgent, a, b, a, b, b]
    for uri in (a, b, urgent):
        assert [label for of, label in made if of == uri] == list(LABELS)


async def test_at_the_engine_too_and_one_variant_at_a_time(world, coordinator, model):  # noqa: F811
    first, other, urgent = f"{model}-1", f"{model}-2", f"{model}-3"
    for evaluator in world.evaluators.values():
        evaluator.gate.hold(world.artifact(first, "dense"))
    begun = len(world.serving.loads)
    studies = [await coordinator.create(of_model(first))]
    await coordinator.until(
        studies[0].meta.id, lambda study: study.variants[0].phase == "evaluating"
    )
    await coordinator.until(studies[0].meta.id, queued_for("an engine"))
    for uri, priority in ((other, 0), (urgent, 1)):
        studies.append(await coordinator.create(of_model(uri, priority=priority)))
        await coordinator.until(studies[-1].meta.id, queued_for("an engine"))
    assert len(world.serving.held()) == 1
    world.open()
    await asyncio.gather(*(coordinator.finished(study.meta.id) for study in studies))
    names = {world.artifact(uri, label): uri for uri in (first, other, urgent) for label in LABELS}
    loads = [names[digest] for digest in world.serving.loads[begun:]]
    assert loads == [first, *3 * [urgent], first, other, first, other, other]
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
