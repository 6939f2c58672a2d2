"""Processes really die: the engine starts again with the next load, and nothing is left behind.

These tests take the session's engine and gateway away, so they run after all others.
"""

from __future__ import annotations

import asyncio
import os
import signal

import grpc
import pytest
from services.serving.tests.conftest import command_of, descendants, start_gateway, until

from assay_core.client import call
from assay_core.errors import AssayError, FailedPrecondition, Unavailable, from_rpc_error
from assay_core.pb import serving_pb2 as pb
from assay_core.pb import serving_pb2_grpc

pytestmark = pytest.mark.engine


def item(name: str, *, n: int = 1, max_tokens: int = 8) -> pb.GenerateItem:
    sampling = pb.SamplingParameters(temperature=1.0, max_tokens=max_tokens)
    return pb.GenerateItem(id=name, text="the quick brown", sampling=sampling, seed=5, n=n)


async def test_a_killed_engine_is_unavailable_with_retry_and_the_next_load_starts_it_again(
    gateway, client, variants
):
    lease = await client.load(variants["a"])
    before = await client.generate(lease, [item("x")])
    busy = asyncio.create_task(first_error(gateway, lease))
    await client.until_in_flight(lambda number: number > 0)
    cores = [pid for pid, name in descendants(gateway.process.pid).items() if "EngineCore" in name]
    assert len(cores) == 1
    os.kill(cores[0], signal.SIGKILL)
    failure = await busy
    assert isinstance(failure, Unavailable)
    assert failure.reason == "ENGINE_DEAD"
    assert failure.retry_after

    with pytest.raises(FailedPrecondition) as refusal:
        await client.generate(lease, [item("x")])
    assert refusal.value.reason == "LEASE_NOT_HELD"
    known = await call(client.stub.GetModel, pb.GetModelRequest(id=lease.model.meta.id))
    assert known.model.meta.error.reason == "ENGINE_DEAD"
    assert not known.model.ready

    async with client.leased(variants["a"]) as again:
        assert not again.model.swapped
        after = await client.generate(again, [item("x")])
        assert after["x", 0].text == before["x", 0].text


async def test_sigterm_ends_every_process_and_exits_cleanly(gateway, client, variants):
    await client.load(variants["a"], ttl=0)
    below = descendants(gateway.process.pid)
    assert below, "Ray is running"
    gateway.process.terminate()
    assert await asyncio.to_thread(gateway.process.wait, 60) == 0
    assert not {pid: name for pid, name in below.items() if command_of(pid) == name}


@pytest.fixture(scope="module")
def again(gateway):
    """A new gateway in the place of the session's, which has ended."""
    started = start_gateway(gateway.home, port=gateway.port)
    yield started
    started.process.terminate()
    assert started.process.wait(timeout=60) == 0


async def test_a_new_gateway_loads_again_what_was_wanted_without_a_lease(again, variants):
    async with again.client() as client:
        request = pb.ListModelsRequest()
        request.options.filter = "wanted = true"
        models = (await call(client.stub.ListModels, request)).models
        (lost,) = [each for each in models if each.artifact_uri == str(variants["a"])]
        assert not lost.ready
        assert lost.meta.progress.phase.startswith("server restarted")
        found = await client.settled(lost.meta.id)
        while not found.ready:  # a watch that began before the first look has ended at once
            found = await client.settled(lost.meta.id)
            assert found.meta.error.code == ""
            await asyncio.sleep(0.1)
        assert (found.meta.progress.phase, found.leases) == ("resident", 0)
        async with client.leased(variants["a"]) as lease:
            assert lease.digest == found.artifact_digest
            assert (await client.generate(lease, [item("x")]))["x", 0].text


async def test_a_forced_unload_waits_for_what_is_generated_and_leaves_no_engine(again, variants):
    async with again.client() as client:
        await unload_by_force(again, client, variants)


async def unload_by_force(gateway, client, variants):
    lease = await client.load(variants["a"])
    engine = [pid for pid, name in descendants(gateway.process.pid).items() if "VLLM::" in name]
    assert engine
    long = [item(str(i), n=32, max_tokens=480) for i in range(4)]  # seconds, however idle it is
    busy = asyncio.create_task(client.generate(lease, long))
    await client.until_in_flight(lambda number: number > 0)
    request = pb.UnloadModelRequest(id=lease.model.meta.id, force=True)
    answer = await call(client.stub.UnloadModel, request, timeout=300)
    assert len(await busy) == 128
    assert not answer.model.ready
    await until(lambda: not any(command_of(pid) for pid in engine), 60)
    with pytest.raises(FailedPrecondition) as refusal:
        await client.generate(lease, [item("x")])
    assert refusal.value.reason == "LEASE_NOT_HELD"


async def first_error(gateway, lease) -> AssayError | None:
    """What a long stream ends with, on a channel that does not retry UNAVAILABLE by itself."""
    options = [("grpc.enable_retries", 0)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}", options) as connection:
        stub = serving_pb2_grpc.ServingServiceStub(connection)
        request = pb.GenerateRequest(
            lease_id=lease.id,
            artifact_digest=lease.digest,
            items=[item(str(i), n=32, max_tokens=480) for i in range(8)],
        )

        async def messages():
            yield request

        try:
            async for _ in stub.Generate(messages(), timeout=300):
                pass
        except grpc.aio.AioRpcError as error:
            return from_rpc_error(error)
    return None
