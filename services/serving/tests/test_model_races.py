"""What may happen between two steps of a load, a swap or an unload, over a runtime in memory."""

from __future__ import annotations

import asyncio
import threading

import pytest
from services.serving.tests.conftest import until
from services.serving.tests.memory_runtime import World, checkpoint
from services.serving.tests.test_models import generate, items

from assay_core.auth import Principal, Scope
from assay_core.errors import FailedPrecondition, Unavailable
from assay_core.resources import State
from assay_serving import artifacts
from assay_serving.domain import EngineOptions
from assay_serving.models import LoadRequest
from assay_serving.reconciler import Reconciler
from assay_serving.runtime import EngineUnreachableError


class Held:
    """A blocking function that waits in its worker thread until it is let go."""

    def __init__(self, function) -> None:
        self._function = function
        self._go = threading.Event()
        self.entered = threading.Event()

    def __call__(self, *arguments):
        self.entered.set()
        assert self._go.wait(20)
        return self._function(*arguments)

    async def reached(self) -> None:
        await asyncio.to_thread(self.entered.wait, 20)

    def let_go(self) -> None:
        self._go.set()


async def phase(world: World, known) -> tuple[State, str, bool]:
    found = await world.registry.get(known.model.id)
    return found.record.state, found.record.progress.phase, found.ready


async def test_a_load_that_could_not_be_recorded_leaves_no_lease_and_its_repeat_gets_one(
    world, monkeypatch
):
    async def away(*_):
        raise Unavailable("the database is away", reason="DATABASE_UNAVAILABLE")

    with monkeypatch.context() as outage:
        outage.setattr(world.registry, "put", away)
        with pytest.raises(Unavailable):
            await world.load("a", request_id="r")
    known, lease = await world.leased("a", request_id="r")
    assert await generate(world, known, lease, items(1)) == [lease.digest]


async def test_a_repeat_beside_the_first_call_is_answered_with_its_lease(world, monkeypatch):
    put, held = world.registry.put, asyncio.Event()

    async def slow(*arguments):
        if not held.is_set():
            held.set()
            await asyncio.sleep(0.3)
        await put(*arguments)

    monkeypatch.setattr(world.registry, "put", slow)
    first = asyncio.create_task(world.load("a", request_id="r"))
    await held.wait()
    _, repeated = await world.load("a", request_id="r")
    assert repeated.id == (await first)[1].id


async def test_a_model_that_nobody_waits_for_any_more_is_not_queued(world):
    _, holder = await world.leased("a")
    known, wanted = await world.load("b")
    _, also = await world.load("b")
    world.manager.release(wanted.id)
    await asyncio.sleep(0.1)
    assert (await phase(world, known))[0] is State.QUEUED, "another request waits for it"
    world.manager.release(also.id)
    assert await phase(world, await world.settled(known)) == (State.CANCELLED, "withdrawn", False)
    assert world.engine(known).resident == holder.digest


async def test_a_wanted_model_whose_waiting_lease_was_withdrawn_comes_back(world):
    known = await world.settled((await world.load("a", ttl=0))[0])
    world.runtime.resident.clear()
    await world.engine(known).died()
    _, holder = await world.leased("b")
    _, waiting = await world.load("a")
    world.manager.release(waiting.id)
    await world.settled(known)
    world.manager.release(holder.id)
    await Reconciler(world.manager, world.registry, world.clock).look()
    assert (await world.settled(known)).ready


async def test_a_swap_that_nobody_waits_for_any_more_spares_who_holds_the_resident_artifact(
    world, monkeypatch
):
    known, lease = await world.leased("a")
    world.manager.release(lease.id)
    verify = Held(artifacts.verify_files)
    monkeypatch.setattr(artifacts, "verify_files", verify)
    other, unwanted = await world.load("b")
    await verify.reached()
    world.manager.release(unwanted.id)
    _, lease = await world.leased("a")
    verify.let_go()
    assert (await world.settled(other)).record.progress.phase == "withdrawn"
    assert await generate(world, known, lease, items(2)) == [lease.digest] * 2
    assert [what for _, what in world.runtime.history] == ["start"]


async def test_no_room_is_made_for_a_model_that_nobody_waits_for_any_more(world):
    known, lease = await world.leased("a")
    other, unwanted = await world.load("c")
    await asyncio.sleep(0.1)
    world.manager.release(unwanted.id)
    world.manager.release(lease.id)
    assert (await world.settled(other)).record.progress.phase == "withdrawn"
    assert (await phase(world, known))[0] is State.SUCCEEDED


async def test_a_lease_that_was_granted_during_an_unload_ends_with_it(world):
    known, lease = await world.leased("a")
    world.runtime.hold.clear()
    running = asyncio.create_task(generate(world, known, lease, items(1)))
    await world.runtime.entered.wait()
    unloading = asyncio.create_task(world.manager.unload(known.model.id, force=True))
    await asyncio.sleep(0.05)
    _, late = await world.load("a")
    world.runtime.hold.set()
    await running
    assert not (await unloading).ready
    with pytest.raises(FailedPrecondition) as refusal:
        await generate(world, known, late, items(1))
    assert refusal.value.reason == "LEASE_NOT_HELD"
    async with asyncio.timeout(5):
        await world.leased("b")


@pytest.mark.parametrize("way", ["unload", "death"])
async def test_an_end_goes_on_when_its_caller_has_gone(world, monkeypatch, way):
    known, lease = await world.leased("a")
    delete = Held(world.runtime.delete)
    monkeypatch.setattr(world.runtime, "delete", delete)
    if way == "unload":
        world.manager.release(lease.id)
        ending = asyncio.create_task(world.manager.unload(known.model.id, force=False))
    else:
        world.runtime.dead = True
        ending = asyncio.create_task(generate(world, known, lease, items(1)))
    await delete.reached()
    ending.cancel()
    await asyncio.gather(ending, return_exceptions=True)
    next_one, _ = await world.load("b")
    await asyncio.sleep(0.2)
    assert [what for _, what in world.runtime.history] == ["start"], "first it ends"
    delete.let_go()
    assert (await world.settled(next_one)).ready
    assert [what for _, what in world.runtime.history] == ["start", "end", "start"]
    assert not (await phase(world, known))[2]


async def test_an_engine_that_is_asked_for_while_room_is_made_is_not_evicted(tmp_path, monkeypatch):
    world = World(tmp_path, max_engines=4, memory_budget_gib=2.5)
    world.uri["d"] = checkpoint(tmp_path / "d", weight=1.0, hidden=32)
    first, lease = await world.leased("a")
    world.manager.release(lease.id)
    world.clock.now += 1
    second, lease = await world.leased("c")
    world.manager.release(lease.id)
    delete = Held(world.runtime.delete)
    monkeypatch.setattr(world.runtime, "delete", delete)
    large, _ = await world.load("d", options=EngineOptions(kv_cache_gib=2))
    await delete.reached()
    _, lease = await world.leased("c")
    delete.let_go()
    await until(lambda: len(world.runtime.resident) == 1, 10)
    assert await generate(world, second, lease, items(1)) == [lease.digest]
    assert (await phase(world, first))[1] == "evicted"
    assert (await phase(world, second))[0] is State.SUCCEEDED
    world.manager.release(lease.id)
    assert (await world.settled(large)).ready
    await world.manager.drain()
    await world.registry.close()


async def test_a_swap_whose_records_go_away_midway_is_recorded_when_they_are_back(
    world, monkeypatch
):
    known, lease = await world.leased("a")
    world.manager.release(lease.id)
    update = world.registry.update

    async def away(engine_id, digest, state, *arguments, **fields):
        if state is State.CANCELLED:
            raise Unavailable("the database is away", reason="DATABASE_UNAVAILABLE")
        await update(engine_id, digest, state, *arguments, **fields)

    with monkeypatch.context() as outage:
        outage.setattr(world.registry, "update", away)
        await world.load("b")
        await until(lambda: world.engine(known).resident is None, 10)
        await asyncio.sleep(0.1)
    world.engine(known).changed()

    async def told() -> bool:
        return await phase(world, known) == (State.CANCELLED, "swapped out", False)

    await until(told, 20)
    assert (await world.leased("b"))[0].ready


async def test_what_another_project_needs_is_not_unloaded_by_who_may_not_see_it(world):
    ours = Principal("ours", Scope.RUN, frozenset({"default"}))
    known = await world.settled((await world.load("a", ttl=0))[0])
    theirs = LoadRequest("theirs", world.uri["a"], ttl=0)
    other = await world.settled((await world.manager.load(theirs))[0])
    assert other.model.engine_id == known.model.engine_id
    for force in (False, True):
        with pytest.raises(FailedPrecondition) as refusal:
            await world.manager.unload(known.model.id, force=force, principal=ours)
        assert refusal.value.reason == "MODEL_SHARED"
    assert (await world.registry.get(other.model.id)).ready
    await world.manager.unload(other.model.id, force=False)
    known, lease = await world.leased("a")
    _, theirs = await world.manager.load(LoadRequest("theirs", world.uri["a"], ttl=60))
    with pytest.raises(FailedPrecondition):
        await world.manager.unload(known.model.id, force=True, principal=ours)
    assert await generate(world, known, theirs, items(1)) == [lease.digest]
    world.manager.release(theirs.id)
    assert not (await world.manager.unload(known.model.id, force=True, principal=ours)).ready


async def test_an_engine_that_never_starts_fails_and_lets_others_have_their_turn(tmp_path):
    world = World(tmp_path, start_seconds=0.2)
    deploy, ended = world.runtime.deploy, threading.Event()

    def waits_for_room(engine_id, spec, path, digest):
        if spec.replicas == 200:
            ended.wait(20)
            raise EngineUnreachableError("RuntimeError")
        return deploy(engine_id, spec, path, digest)

    def delete(engine_id):
        ended.set()

    world.runtime.deploy, world.runtime.delete = waits_for_room, delete
    known, _ = await world.load("a", options=EngineOptions(replicas=200))
    behind, _ = await world.load("c")
    failed = await world.settled(known)
    assert failed.record.error.reason == "ENGINE_START_FAILED"
    assert (await world.settled(behind)).ready
    await world.manager.drain()
    await world.registry.close()
