"""The database of records away while engines load and die: the queue outlives it, and what is
recorded in the end is what is so.
"""

from __future__ import annotations

import pytest
from services.serving.tests.conftest import until
from services.serving.tests.memory_runtime import World
from services.serving.tests.test_models import generate, items

from assay_core.errors import FailedPrecondition, Unavailable
from assay_core.resources import State
from assay_serving.registry import ModelRecord


class Outage:
    """Updates of records fail while it lasts; the first `spared` of them still succeed."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self._update = world.registry.update
        self.failed = 0
        self._spared: int | None = None
        monkeypatch.setattr(world.registry, "update", self._update_or_fail)

    def begin(self, *, spared: int = 0) -> None:
        self._spared = spared

    async def end(self, *, after: int) -> None:
        """End it once so many updates have failed."""
        await until(lambda: self.failed >= after, 20)
        self._spared = None

    async def _update_or_fail(self, *args: object, **fields: object) -> None:
        if self._spared is None:
            return await self._update(*args, **fields)
        if self._spared:
            self._spared -= 1
            return await self._update(*args, **fields)
        self.failed += 1
        raise Unavailable("the database is away", reason="DATABASE_UNAVAILABLE")


@pytest.fixture
def outage(world: World, monkeypatch: pytest.MonkeyPatch) -> Outage:
    return Outage(world, monkeypatch)


async def recorded(world: World, known: ModelRecord, state: State) -> ModelRecord:
    async def so() -> bool:
        return (await world.registry.get(known.model.id)).record.state is state

    await until(so, 20)
    return await world.registry.get(known.model.id)


async def test_a_failed_load_that_cannot_be_recorded_is_recorded_later_and_the_queue_goes_on(
    world, outage
):
    outage.begin(spared=2)  # verifying files, starting engine
    known, lease = await world.load("b")
    world.runtime.refuse.add(known.model.artifact_digest)
    await outage.end(after=2)
    found = await recorded(world, known, State.FAILED)
    assert (found.record.error.reason, found.ready) == ("ENGINE_START_FAILED", False)
    with pytest.raises(FailedPrecondition):
        world.manager.renew(lease.id, 60)
    # The queue of the same engine serves on.
    other, lease = await world.leased("a")
    assert other.model.engine_id == known.model.engine_id
    assert await generate(world, other, lease, items(1)) == [lease.digest]


async def test_a_load_that_only_could_not_be_recorded_is_resident_under_its_lease(world, outage):
    outage.begin(spared=2)  # verifying files, starting engine
    known, lease = await world.load("a")
    await outage.end(after=2)
    found = await recorded(world, known, State.SUCCEEDED)
    assert found.ready
    assert await generate(world, found, lease, items(2)) == [lease.digest] * 2
    assert [what for _, what in world.runtime.history] == ["start"]


async def test_a_death_that_cannot_be_recorded_is_recorded_later_and_the_next_load_restarts(
    world, outage
):
    known, lease = await world.leased("a")
    world.runtime.dead = True
    outage.begin()
    with pytest.raises(Unavailable):
        await generate(world, known, lease, items(1))
    await outage.end(after=2)
    assert not (await recorded(world, known, State.FAILED)).ready
    again, lease = await world.leased("a")
    assert await generate(world, again, lease, items(1)) == [lease.digest]
