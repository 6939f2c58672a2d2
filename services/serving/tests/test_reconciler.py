"""Wanted models come back after any loss; others do not."""

from __future__ import annotations

import shutil

import pytest
from prometheus_client import REGISTRY
from services.serving.tests.memory_runtime import World

from assay_core.resources import State
from assay_serving import reconciler as module
from assay_serving.reconciler import Reconciler


def restarted(world: World, tmp_path) -> World:
    """The same database under a new process with nothing resident."""
    return World(tmp_path, checkpoints=False)


@pytest.fixture
def reconcile(world: World) -> Reconciler:
    return Reconciler(world.manager, world.registry, world.clock)


async def test_after_a_restart_what_was_wanted_is_loaded_again_and_what_was_leased_is_not(tmp_path):
    before = World(tmp_path, max_engines=2)
    wanted = await before.settled((await before.load("a", ttl=0))[0])
    leased, _ = await before.leased("c")
    await before.manager.drain()
    await before.registry.close()

    after = restarted(before, tmp_path)
    await after.registry.start()
    shown = await after.registry.get(wanted.model.id)
    assert (shown.record.state, shown.record.progress.phase) == (
        State.CANCELLED,
        "server restarted",
    )
    await Reconciler(after.manager, after.registry, after.clock).look()
    assert (await after.settled(wanted)).ready
    assert (await after.registry.get(leased.model.id)).record.state is State.CANCELLED
    assert [what for _, what in after.runtime.history] == ["start"]
    await after.manager.drain()
    await after.registry.close()


async def test_wanted_models_are_counted_whether_they_are_there_or_not(world, reconcile):
    async def counted() -> float:
        await reconcile.look()
        return REGISTRY.get_sample_value("assay_serving_wanted_models")

    assert await counted() == 0
    known = await world.settled((await world.load("a", ttl=0))[0])
    assert await counted() == 1
    await world.engine(known).died()
    assert await counted() == 1
    await world.settled(known)
    await world.manager.unload(known.model.id, force=False)
    assert await counted() == 0


async def test_a_wanted_model_whose_engine_died_is_loaded_again(world, reconcile):
    known = await world.settled((await world.load("a", ttl=0))[0])
    world.runtime.resident.clear()
    await world.engine(known).died()
    lost = await world.registry.get(known.model.id)
    assert lost.record.error.reason == "ENGINE_DEAD"
    await reconcile.look()
    assert (await world.settled(known)).ready


@pytest.mark.parametrize("way", ["unloaded", "swapped out", "evicted"])
async def test_what_was_unloaded_or_pushed_out_is_not_wanted_any_more(world, reconcile, way):
    known = await world.settled((await world.load("a", ttl=0))[0])
    assert (await world.registry.get(known.model.id)).wanted
    match way:
        case "unloaded":
            await world.manager.unload(known.model.id, force=False)
        case "swapped out":
            await world.leased("b")
        case "evicted":
            await world.leased("c")
    left = await world.registry.get(known.model.id)
    assert left.record.progress.phase == way
    assert not left.wanted
    history = list(world.runtime.history)
    await reconcile.look()
    assert world.runtime.history == history


async def test_a_failing_load_backs_off_tells_and_comes_back(world, reconcile):
    known = await world.settled((await world.load("a", ttl=0))[0])
    world.runtime.refuse.add(known.model.artifact_digest)
    await world.engine(known).died()
    world.runtime.resident.clear()
    await reconcile.look()
    failed = await world.settled(known)
    assert failed.record.error.reason == "ENGINE_START_FAILED"
    pauses = []
    for _ in range(8):
        await reconcile.look()
        told = await world.registry.get(known.model.id)
        assert told.record.error.reason == "ENGINE_START_FAILED"
        pauses.append(told.record.progress.phase.removeprefix("lost; loading again in "))
        seconds = float(pauses[-1].removesuffix(" s"))
        world.clock.now += seconds - 0.1
        await reconcile.look()
        assert (await world.registry.get(known.model.id)).record.state is State.FAILED, "too early"
        world.clock.now += 0.2
        await reconcile.look()
        await world.settled(known)
    assert pauses == ["5 s", "10 s", "20 s", "40 s", "80 s", "160 s", "300 s", "300 s"]
    world.runtime.refuse.clear()
    await reconcile.look()
    world.clock.now += module.LONGEST_PAUSE_SECONDS
    await reconcile.look()
    assert (await world.settled(known)).ready


async def test_a_failure_that_no_retry_mends_ends_the_want(world, reconcile):
    known = await world.settled((await world.load("a", ttl=0))[0])
    shutil.rmtree(world.uri["a"])
    world.runtime.resident.clear()
    await world.engine(known).died()
    for _ in range(3):
        await reconcile.look()
        world.clock.now += module.CALM_SECONDS
    left = await world.registry.get(known.model.id)
    assert left.record.state is State.FAILED
    assert left.record.error.reason == "ARTIFACT_NOT_FOUND"
    assert not left.wanted
    assert [what for _, what in world.runtime.history].count("start") == 1


async def test_a_model_that_was_asked_for_meanwhile_is_not_recorded_as_lost(world):
    known = await world.settled((await world.load("a", ttl=0))[0])
    await world.engine(known).died()
    stale = await world.registry.get(known.model.id)
    again, _ = await world.leased("a")
    await world.registry.lost(stale, "lost; loading again in 5 s", None)
    assert (await world.registry.get(known.model.id)).record == again.record
