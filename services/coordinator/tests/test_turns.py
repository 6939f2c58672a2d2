"""Turns at scarce resources: bounded, by priority, fair between studies, kept through a crash."""

import asyncio

import pytest
import sqlalchemy as sa

from assay_coordinator.store import StudyStore
from assay_coordinator.store.tables import TURNS
from assay_coordinator.store.turns import Ticket, TurnStore
from assay_coordinator.workflows.pipeline import Begun, run_variants
from assay_coordinator.workflows.turns import Resource, Turns

pytestmark = pytest.mark.asyncio


@pytest.fixture
async def store(url):
    studies = StudyStore(url)
    yield TurnStore(studies.engine)
    await studies.close()


async def eventually(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what a database says has no event
            await asyncio.sleep(0.005)


def owners(store):
    with store._engine.connect() as connection:
        return set(connection.execute(sa.select(TURNS.c.owner)).scalars())


def ticket(study, owner="v", priority=0, resource="engine"):
    return Ticket(resource, study, owner, priority)


async def test_a_resource_has_so_many_places_and_the_first_to_ask_gets_the_next(store):
    a, b, c = ticket("a"), ticket("b"), ticket("c")
    assert await store.ask(a, 1)
    assert not await store.ask(b, 1)
    assert not await store.ask(c, 1)
    await store.give_back(a)
    assert not await store.ask(c, 1)  # b is before it; the place went to b by this
    assert await store.holds(b)
    assert await store.ask(c, 2)


async def test_the_higher_priority_goes_first_and_interrupts_nothing(store):
    low, late, high = ticket("low"), ticket("late"), ticket("high", priority=5)
    for each in (low, late, high):
        await store.ask(each, 1)
    assert await store.holds(low)
    await store.give_back(low)
    assert not await store.ask(late, 1)
    assert await store.holds(high)


async def test_a_place_and_a_stand_in_line_are_found_again_after_a_crash(store):
    a, b, c = ticket("a"), ticket("b"), ticket("c")
    for each in (a, b, c):
        await store.ask(each, 1)
    again = TurnStore(store._engine)
    assert await again.holds(a)
    await again.give_back(a)
    assert await again.ask(b, 1)
    assert not await again.ask(c, 1)


async def test_what_a_study_held_is_free_when_it_ends_and_other_resources_are_other_lines(store):
    await store.ask(ticket("a", "v1"), 1)
    await store.ask(ticket("a", "v2"), 1)
    assert await store.ask(ticket("b", resource="compression"), 1)
    assert not await store.ask(ticket("b"), 1)
    await store.give_back_all("a")
    assert await store.ask(ticket("b"), 1)


async def test_fewer_places_than_are_held_end_nothing_and_give_none(store):
    assert await store.ask(ticket("a"), 2)
    assert await store.ask(ticket("b"), 2)
    assert await store.ask(ticket("b"), 1)
    assert not await store.ask(ticket("c"), 1)


async def test_asking_at_once_from_many_places_never_gives_one_too_many(store):
    asked = [ticket(f"s{index}") for index in range(12)]
    given = await asyncio.gather(*(store.ask(each, 3) for each in asked))
    assert sum(given) <= 3
    assert sum([await store.holds(each) for each in asked]) == 3


async def test_among_studies_of_one_priority_places_go_round_one_variant_each(store):
    turns = Turns(store, {Resource.COMPRESSION: 1})
    served, first = [], asyncio.Event()

    async def study(name, variants, priority=0):
        async def make(number, placed):
            async with turns.turn(Resource.COMPRESSION, name, f"{name}{number}", priority):
                placed.set()
                served.append(f"{name}{number}")
                if number + 1 < variants:  # its next variant stands in line before this one ends
                    await eventually(lambda: f"{name}{number + 1}" in owners(store))
                await first.wait()
            return False

        keys = [f"{name}{number}" for number in range(variants)]
        await run_variants(begun(*keys), make, make, make)

    users = [asyncio.create_task(study("a", 3))]
    await eventually(lambda: "a1" in owners(store))
    users += [asyncio.create_task(study("b", 3))]
    await eventually(lambda: "b0" in owners(store))
    users += [asyncio.create_task(study("c", 2, priority=1))]
    await eventually(lambda: "c0" in owners(store))
    first.set()
    await asyncio.gather(*users)
    assert served == ["a0", "c0", "c1", "a1", "b0", "a2", "b1", "b2"]


async def test_who_is_cancelled_in_line_or_in_its_place_leaves_it(store):
    turns = Turns(store, {Resource.ENGINE: 1})
    inside = asyncio.Event()

    async def use(study, owner):
        async with turns.turn(Resource.ENGINE, study, owner, 0):
            inside.set()
            await asyncio.Event().wait()

    holding = asyncio.create_task(use("a", "v"))
    await inside.wait()
    waiting = asyncio.create_task(use("b", "w"))
    await eventually(lambda: owners(store) == {"v", "w"})
    for task in (waiting, holding):
        task.cancel()
    await asyncio.gather(waiting, holding, return_exceptions=True)
    async with asyncio.timeout(10), turns.turn(Resource.ENGINE, "c", "v", 0) as waited:
        assert not waited


def begun(*keys, looks=False):
    return [Begun(key=key, reference=keys[0], looks=looks) for key in keys]


class Steps:
    """Steps that end when a test says so, and a list of what happened."""

    def __init__(self):
        self.seen = []
        self.go = {}
        self.place = {}

    def event(self, *what):
        return self.go.setdefault(what, asyncio.Event())

    async def make(self, index, placed):
        self.seen.append(f"make {index}")
        placed.set()
        await self.event("make", index).wait()
        return True

    async def evaluate(self, index, placed):
        self.seen.append(f"evaluate {index}")
        await self.event("place", index).wait()
        placed.set()
        await self.event("evaluate", index).wait()
        return True

    async def compare(self, index):
        self.seen.append(f"compare {index}")

    async def until(self, *what):
        await eventually(lambda: self.seen[-len(what) :] == list(what))

    def allow(self, *whats):
        for what in whats:
            self.event(*what).set()


async def test_the_next_variant_stands_in_line_once_the_one_before_has_its_place():
    steps = Steps()
    running = asyncio.create_task(
        run_variants(begun("dense", "x"), steps.make, steps.evaluate, steps.compare)
    )
    await steps.until("make 0", "make 1")
    steps.allow(("make", 1), ("make", 0))
    await steps.until("make 0", "make 1", "evaluate 0")
    steps.allow(("place", 0))
    await steps.until("evaluate 0", "evaluate 1")
    # Evaluated first, and compared only when its reference is evaluated too.
    steps.allow(("place", 1), ("evaluate", 1))
    await asyncio.sleep(0.01)
    assert steps.seen[-1] == "evaluate 1"
    steps.allow(("evaluate", 0))
    await running
    assert sorted(steps.seen[-2:]) == ["compare 0", "compare 1"]


async def test_a_cancel_reaches_each_step_once_so_that_it_can_tidy_up():
    steps, tidied = Steps(), []

    async def evaluate(index, placed):
        placed.set()
        steps.seen.append(f"evaluate {index}")
        try:
            return await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05 * (index + 1))
            tidied.append(index)

    steps.allow(("make", 0), ("make", 1))
    running = asyncio.create_task(
        run_variants(begun("dense", "x"), steps.make, evaluate, steps.compare)
    )
    await eventually(lambda: {"evaluate 0", "evaluate 1"} <= set(steps.seen))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert tidied == [0, 1]


async def test_a_step_that_raises_ends_the_others_and_is_what_is_raised():
    steps = Steps()

    async def make(index, placed):
        placed.set()
        if index:
            raise ValueError("a defect")
        return await asyncio.Event().wait()

    with pytest.raises(ValueError, match="a defect"):
        await run_variants(begun("dense", "x"), make, steps.evaluate, steps.compare)


async def test_a_variant_that_is_compared_while_it_runs_waits_for_its_reference():
    steps = Steps()
    running = asyncio.create_task(
        run_variants(begun("dense", "x", looks=True), steps.make, steps.evaluate, steps.compare)
    )
    await steps.until("make 0", "make 1")
    steps.allow(("make", 0), ("make", 1), ("place", 0), ("place", 1), ("evaluate", 1))
    await steps.until("evaluate 0")
    await asyncio.sleep(0.01)
    assert "evaluate 1" not in steps.seen
    steps.allow(("evaluate", 0))
    await running
    assert steps.seen[-1] == "compare 1"
