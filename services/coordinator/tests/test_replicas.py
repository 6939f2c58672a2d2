"""Two coordinators on one Postgres database: nothing is done twice, either answers for both."""

import asyncio
import signal

import postgres
import psycopg
import pytest
import pytest_asyncio
from conftest import Coordinator
from fake_peers import World
from small_studies import evaluating, generated_twice, made, model, spec  # noqa: F401

from assay_core.pb import common_pb2
from assay_core.pb import coordination_pb2 as pb

S = common_pb2.State

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def url():
    with postgres.server() as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replicas(url, tmp_path_factory):
    async with World(tmp_path_factory.mktemp("replicas")) as world:
        pair = [Coordinator(world, name) for name in ("coordinator-0", "coordinator-1")]
        try:
            for replica in pair:
                replica.extra = {
                    "ASSAY_COORDINATOR_DATABASE_URL": url,
                    "ASSAY_COORDINATOR_EXECUTOR_ID": replica.home.name,
                    "ASSAY_COORDINATOR_EXECUTOR_TTL_SECONDS": "12",
                }
                await replica.start()
            yield pair
        finally:
            for replica in pair:
                await replica.close()


@pytest.fixture
def world(replicas, model):  # noqa: F811
    world = replicas[0].world
    world.reset()
    world.model = model
    return world


def executor_of(url, study_id):
    """Which replica has the workflow of a study now, and its state."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT executor_id, status FROM dbos.workflow_status WHERE workflow_uuid = %s",
            (f"{study_id}:1",),
        ).fetchone()


async def taken_over(url, study_id, by):
    async with asyncio.timeout(120):
        while executor_of(url, study_id) != (by, "PENDING"):  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.1)


async def test_a_replica_takes_over_the_study_of_one_that_was_killed(world, replicas, url):
    first, second = replicas
    world.hold("gptq-8bit-g128")
    study = await first.create(spec())
    await second.until(study.meta.id, evaluating)  # the other replica sees it move
    assert executor_of(url, study.meta.id) == (first.home.name, "PENDING")
    first.kill()
    await taken_over(url, study.meta.id, by=second.home.name)
    # The killed one comes back in the middle, and leaves the study where it is.
    await first.start()
    world.open()
    study = await second.finished(study.meta.id)
    assert study.meta.state == S.STATE_SUCCEEDED
    assert executor_of(url, study.meta.id) == (second.home.name, "SUCCESS")
    assert made(world) == ["dense", "gptq-3bit-g128", "gptq-8bit-g128"]
    assert not generated_twice(world)
    assert not world.serving.held()


async def test_one_that_comes_back_in_time_keeps_its_study(world, replicas, url):
    first, second = replicas
    world.hold("gptq-8bit-g128")
    study = await first.create(spec())
    await second.until(study.meta.id, evaluating)
    first.kill()
    await second.terminate()  # a start of the other takes up nothing that is not its own
    await first.start()
    await second.start()
    world.open()
    study = await second.finished(study.meta.id)
    assert study.meta.state == S.STATE_SUCCEEDED
    assert executor_of(url, study.meta.id) == (first.home.name, "SUCCESS")
    assert not generated_twice(world)


async def test_a_replica_that_drains_hands_its_studies_over_at_once(world, replicas, url):
    first, second = replicas
    world.hold("gptq-8bit-g128")
    study = await first.create(spec())
    await second.until(study.meta.id, evaluating)
    assert await first.terminate() == 0
    await taken_over(url, study.meta.id, by=second.home.name)
    world.open()
    study = await second.finished(study.meta.id)
    assert study.meta.state == S.STATE_SUCCEEDED
    assert not generated_twice(world)
    await first.start()


async def test_one_that_was_only_stopped_ends_when_it_wakes_and_does_nothing_twice(
    world, replicas, url
):
    first, second = replicas
    world.hold("gptq-8bit-g128")
    study = await first.create(spec())
    await second.until(study.meta.id, evaluating)
    first.process.send_signal(signal.SIGSTOP)
    await taken_over(url, study.meta.id, by=second.home.name)
    first.process.send_signal(signal.SIGCONT)
    assert await asyncio.to_thread(first.process.wait, 60) == 2
    assert "start it again" in first.log.read_text()
    world.open()
    study = await second.finished(study.meta.id)
    assert study.meta.state == S.STATE_SUCCEEDED
    assert executor_of(url, study.meta.id) == (second.home.name, "SUCCESS")
    assert made(world) == ["dense", "gptq-3bit-g128", "gptq-8bit-g128"]
    assert not generated_twice(world)
    await first.start()


async def test_either_replica_cancels_and_resumes_a_study_of_the_other(world, replicas):
    first, second = replicas
    world.hold("gptq-8bit-g128")
    study = await first.create(spec())
    await first.until(study.meta.id, evaluating)
    await second.call("CancelStudy", pb.CancelStudyRequest(id=study.meta.id))
    study = await first.finished(study.meta.id)
    assert study.meta.state == S.STATE_CANCELLED
    assert not world.serving.held()
    world.open()
    await second.call("ResumeStudy", pb.ResumeStudyRequest(id=study.meta.id))
    study = await first.finished(study.meta.id)
    assert study.meta.state == S.STATE_SUCCEEDED
    assert not generated_twice(world)


async def test_the_same_request_id_at_both_replicas_is_one_study(world, replicas, model):  # noqa: F811
    first, second = replicas
    study = await first.create(spec(), f"once-{model}")
    again = await second.create(spec(), f"once-{model}")
    assert again.meta.id == study.meta.id
    assert (await second.finished(study.meta.id)).meta.state == S.STATE_SUCCEEDED
    assert not generated_twice(world)
