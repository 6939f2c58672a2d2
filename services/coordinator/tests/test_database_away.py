"""A study outlives its database: what it does waits until the database is back."""

import asyncio

import postgres
import pytest
import pytest_asyncio
from conftest import Coordinator
from fake_peers import World
from small_studies import evaluating, generated_twice, made, model, spec  # noqa: F401

from assay_core.pb import common_pb2

S = common_pb2.State

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory):
    """A coordinator on a Postgres that can be stopped."""
    with postgres.running() as server:
        async with World(tmp_path_factory.mktemp("away")) as world:
            coordinator = Coordinator(world)
            try:
                coordinator.extra = {"ASSAY_COORDINATOR_DATABASE_URL": server.url}
                await coordinator.start()
                yield coordinator, server
            finally:
                await coordinator.close()


@pytest.mark.parametrize("seconds", [0, 8], ids=["a restart", "an outage"])
async def test_a_study_outlives_an_end_of_its_database(place, model, seconds):  # noqa: F811
    coordinator, server = place
    world = coordinator.world
    world.reset()
    world.model = model
    world.hold("gptq-8bit-g128")
    study = await coordinator.create(spec())
    await coordinator.until(study.meta.id, evaluating)
    server.stop()
    world.open()
    await asyncio.sleep(seconds)
    server.start()
    study = await coordinator.finished(study.meta.id)
    assert study.meta.state == S.STATE_SUCCEEDED, study.meta.error
    assert made(world) == ["dense", "gptq-3bit-g128", "gptq-8bit-g128"]
    assert not generated_twice(world)
    assert not world.serving.held()
