"""Every kind of process is killed while callers are at work (`make faults-serving`).

Callers do what the README tells them to: after UNAVAILABLE they wait as long as they were told,
load again and go on. Whatever they get must be what the weights say, before and after.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from services.serving.tests.conftest import (
    Client,
    Gateway,
    command_of,
    descendants,
    make_model,
    start_gateway,
    until,
)

from assay_core.errors import AssayError, FailedPrecondition, Unavailable, from_rpc_error
from assay_core.pb import serving_pb2 as pb
from assay_core.pb import serving_pb2_grpc

pytestmark = [pytest.mark.engine, pytest.mark.slow]

RECOVERY_SECONDS = 400.0
RAY_HOST = "assay_serving.ray_host"


def items() -> list[pb.GenerateItem]:
    sampling = pb.SamplingParameters(temperature=1.0, max_tokens=64)
    return [
        pb.GenerateItem(id=f"i{i}", text="the quick", sampling=sampling, seed=i, n=4)
        for i in range(32)
    ]


class Caller:
    """Generates again and again, through every failure; keeps what it saw."""

    def __init__(self, port: int, path: Path) -> None:
        self._port = port
        self._path = path
        self.expected: dict[tuple[str, int], str] = {}
        self.rounds = 0
        self.wrong = 0
        self.failures: list[AssayError] = []

    async def run(self) -> None:
        """Until it is cancelled."""
        # A channel that retries UNAVAILABLE by itself would hide it.
        options = [("grpc.enable_retries", 0), ("grpc.max_reconnect_backoff_ms", 1000)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self._port}", options) as connection:
            stub = serving_pb2_grpc.ServingServiceStub(connection)
            client = Client(stub, self._port + 100)
            while True:
                try:
                    await self._once(client)
                except grpc.aio.AioRpcError as error:
                    await self._failed(from_rpc_error(error))
                except AssayError as error:
                    await self._failed(error)

    async def _once(self, client: Client) -> None:
        lease = await client.load(self._path, ttl=30)
        try:
            found = await client.generate(lease, items(), per_message=8)
        finally:
            with_release = asyncio.create_task(client.release(lease))
            await asyncio.gather(with_release, return_exceptions=True)
        texts = {key: completion.text for key, completion in found.items()}
        self.expected = self.expected or texts
        self.wrong += texts != self.expected
        self.rounds += 1

    async def _failed(self, error: AssayError) -> None:
        self.failures.append(error)
        await asyncio.sleep(min(error.retry_after or 1.0, 2.0))


@asynccontextmanager
async def at_work(gateway: Gateway, path: Path) -> AsyncIterator[Caller]:
    """A caller that has finished a round and goes on until the context ends."""
    caller = Caller(gateway.port, path)
    task = asyncio.create_task(caller.run())
    try:
        await until(lambda: caller.rounds >= 2, RECOVERY_SECONDS)
        yield caller
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "a", seed=1)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    started = start_gateway(tmp_path_factory.mktemp("home"))
    yield started
    if started.process.poll() is None:
        started.process.terminate()
        started.process.wait(timeout=60)


def refused_with_a_way_on(error: AssayError) -> bool:
    """UNAVAILABLE, or the refusal of a lease that ended with the engine.

    The gateway says when to ask again. A channel that has lost it cannot, nor one whose stream the
    gateway ended while it wrote: grpc.aio then tells no more than of a connection that is lost.
    """
    if isinstance(error, FailedPrecondition):
        return error.reason == "LEASE_NOT_HELD"
    return isinstance(error, Unavailable) and (
        error.retry_after is not None or error.reason in {"UNAVAILABLE", "CONNECTION_LOST"}
    )


async def recovered(caller: Caller) -> None:
    """Two more rounds; every text as before, every failure one that says how to go on."""
    before = caller.rounds
    await until(lambda: caller.rounds >= before + 2, RECOVERY_SECONDS)
    assert caller.wrong == 0
    assert not [repr(error) for error in caller.failures if not refused_with_a_way_on(error)]


@pytest.mark.parametrize(
    "name",
    ["VLLM::Worker", "VLLM::EngineCore", "ray::ServeReplica", "gcs_server", "raylet", RAY_HOST],
)
async def test_callers_go_on_after_a_kill_of(served, checkpoint, name):
    async with at_work(served, checkpoint) as caller:
        victim = min(pids_of(served, name))
        os.kill(victim, signal.SIGKILL)
        # Serve may hold a call back until it has another replica: not every kill is seen as one.
        await until(lambda: set(pids_of(served, name)) - {victim}, RECOVERY_SECONDS)
        await recovered(caller)
    assert served.process.poll() is None, "the gateway lives on"


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
async def test_ray_dying_during_a_load_is_an_answer(served, checkpoint, name):
    """Ray's client ends its process then, in C++: it must not be the gateway's."""
    async with served.client() as client:
        loaded = await client.load(checkpoint, ttl=0)
        await client.stub.UnloadModel(pb.UnloadModelRequest(id=loaded.model.meta.id, force=True))
        replicas = set(pids_of(served, "ray::ServeReplica"))
        answer = await client.stub.LoadModel(
            pb.LoadModelRequest(artifact_uri=str(checkpoint), lease_ttl={"seconds": 600})
        )
        await until(lambda: set(pids_of(served, "ray::ServeReplica")) - replicas, RECOVERY_SECONDS)
        os.kill(min(pids_of(served, name)), signal.SIGKILL)
        failed = await client.settled(answer.model.meta.id)
        assert failed.meta.error.code == "UNAVAILABLE"
        assert failed.meta.error.reason == "ENGINE_START_FAILED"
        assert served.process.poll() is None, "the gateway lives on"
        async with client.leased(checkpoint) as lease:
            assert len(await client.generate(lease, items())) == 128


async def test_callers_go_on_after_a_kill_of_the_gateway(served, checkpoint):
    async with at_work(served, checkpoint) as caller:
        below = descendants(served.process.pid)
        served.process.kill()
        served.process.wait()
        await until(lambda: not left_of(below), 60)
        again = start_gateway(served.home, port=served.port)
        try:
            await until(lambda: caller.failures, 60)
            await recovered(caller)
            async with again.client() as client:
                listed = await client.stub.ListModels(pb.ListModelsRequest())
                assert [model.ready for model in listed.models] == [True]
        finally:
            again.process.terminate()
            again.process.wait(timeout=60)


def pids_of(gateway: Gateway, name: str) -> list[int]:
    """Processes below the gateway by the name of their program or Python module."""
    found = descendants(gateway.process.pid).items()
    return [
        pid
        for pid, command in found
        if command.split()[0].rpartition("/")[2].startswith(name) or f" -m {name} " in command
    ]


def left_of(below: dict[int, str]) -> dict[int, str]:
    """Those of some processes that still run."""
    return {pid: name for pid, name in below.items() if command_of(pid) == name}
