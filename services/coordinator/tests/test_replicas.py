"""Two coordinators on one Postgres database: nothing is done twice, either answers for both."""

import postgres
import pytest
import pytest_asyncio
from conftest import Coordinator
from fake_peers import World
from test_workflows import evaluating, generated_twice, made, model, spec  # noqa: F401

from assay_core.pb import common_pb2
from assay_core.pb import coordination_pb2 as pb

S = common_pb2.State

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replicas(tmp_path_factory):
    with postgres.server() as url:
        async with World(tmp_path_factory.mktemp("replicas")) as world:
            pair = [Coordinator(world, name) for name in ("coordinator-0", "coordinator-1")]
            try:
                for replica in pair:
                    replica.extra = {
                        "ASSAY_COORDINATOR_DATABASE_URL": url,
                        "ASSAY_COORDINATOR_EXECUTOR_ID": replica.home.name,
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


async def test_a_study_on_postgres_survives_kill_9_of_its_replica_and_nothing_is_done_twice(
    world, replicas
):
    first, second = replicas
    world.hold("gptq-8bit-g128")
    study = await first.create(spec())
    await second.until(study.meta.id, evaluating)  # the other replica sees it move
    first.kill()
    # A start of the other replica does not take up what belongs to the first.
    await second.terminate()
    await second.start()
    await first.start()
    world.open()
    study = await second.finished(study.meta.id)
    assert study.meta.state == S.STATE_SUCCEEDED
    assert made(world) == ["dense", "gptq-3bit-g128", "gptq-8bit-g128"]
    assert not generated_twice(world)
    assert not world.serving.held()


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
