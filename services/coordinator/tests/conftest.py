"""A coordinator as its own process, and the peers it talks to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest
import pytest_asyncio
import sqlalchemy as sa

from assay_coordinator.store.engine import create_engine
from assay_core.client import call, channel, stream
from assay_core.errors import AssayError
from assay_core.logs import configure_logging
from assay_core.pb import coordination_pb2 as pb
from assay_core.pb import coordination_pb2_grpc

sys.path.insert(0, str(Path(__file__).parent))

import postgres
from fake_peers import World

configure_logging("tests", "error")

# A property is about values; how long an example takes is the machine's.
hypothesis.settings.register_profile("assay", deadline=None)
hypothesis.settings.load_profile("assay")


def pytest_collection_modifyitems(config, items):
    """Long simulations run when they are asked for by their mark."""
    if "simulation" not in config.getoption("markexpr"):
        skip = pytest.mark.skip(reason="a long simulation: make test-statistics")
        for item in items:
            if item.get_closest_marker("simulation"):
                item.add_marker(skip)


@pytest.fixture(scope="module")
def postgres_url():
    with postgres.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'coordinator.sqlite'}"
    base = request.getfixturevalue("postgres_url")
    name = f"d{abs(hash(request.node.nodeid))}"
    engine = create_engine(base).execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return base.rsplit("/", 1)[0] + f"/{name}"


class Coordinator:
    """The real `assay-coordinator` process, which can be killed and started again."""

    def __init__(self, world: World, name: str = "coordinator") -> None:
        self.world = world
        self.home = world.folder / name
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.process: subprocess.Popen | None = None
        self.log = world.folder / f"{name}.log"
        self._channel = None
        self.extra: dict[str, str] = {}

    async def start(self) -> None:
        addresses = self.world.addresses
        environment = {
            **os.environ,
            "ASSAY_COORDINATOR_LISTEN": self.address,
            "ASSAY_COORDINATOR_METRICS_LISTEN": "off",
            "ASSAY_COORDINATOR_HOME": str(self.home),
            "ASSAY_COORDINATOR_DATA_URI": self.world.data.uri,
            "ASSAY_COORDINATOR_COMPRESSION": addresses["compression"],
            "ASSAY_COORDINATOR_SERVING": addresses["serving"],
            "ASSAY_COORDINATOR_EVALUATORS": json.dumps(
                {name: addresses[name] for name in self.world.evaluators}
            ),
            "ASSAY_COORDINATOR_LEASE_TTL_SECONDS": "3",
            "ASSAY_COORDINATOR_BOOTSTRAP_REPLICATES": "200",
            "ASSAY_COORDINATOR_DRAIN_SECONDS": "1",
            **self.extra,
        }
        self._spawn(environment)
        if self._channel is None:
            self._channel = channel(self.address)
            self.stub = coordination_pb2_grpc.CoordinationServiceStub(self._channel)
        for _ in range(600):
            try:
                await call(self.stub.GetServerInfo, pb.GetServerInfoRequest(), timeout=1)
                return
            except AssayError:
                assert self.process.poll() is None, self.log.read_text()[-3000:]
                await asyncio.sleep(0.1)
        raise AssertionError("the coordinator did not start: " + self.log.read_text()[-3000:])

    def _spawn(self, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "assay_coordinator.main"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def kill(self) -> None:
        """kill -9."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    async def terminate(self) -> int:
        """SIGTERM; waits on a thread, because its peers answer from this event loop."""
        self.process.terminate()
        return await asyncio.to_thread(self.process.wait, 60)

    async def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._channel is not None:
            await self._channel.close()

    # -- shorthands for the API ------------------------------------------------------------------

    async def call(self, method: str, request):
        return await call(getattr(self.stub, method), request, timeout=60)

    async def create(self, spec: pb.StudySpec, request_id: str = "") -> pb.Study:
        request = pb.CreateStudyRequest(spec=spec, request_id=request_id)
        return (await self.call("CreateStudy", request)).study

    async def get(self, study_id: str) -> pb.Study:
        return (await self.call("GetStudy", pb.GetStudyRequest(id=study_id))).study

    async def until(self, study_id: str, condition, seconds: float = 240) -> pb.Study:
        """The first study of a watch for which the condition holds."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    request = pb.WatchStudyRequest(id=study_id)
                    try:
                        async for update in stream(self.stub.WatchStudy, request):
                            if condition(update.study):
                                return update.study
                    except AssayError as error:
                        if error.code.name != "UNAVAILABLE":
                            raise
                    await asyncio.sleep(0.1)
        except TimeoutError:
            study = await self.get(study_id)
            raise AssertionError(f"{study}\n{self.log.read_text()[-4000:]}") from None

    async def finished(self, study_id: str) -> pb.Study:
        return await self.until(study_id, lambda s: s.meta.state in FINAL)


FINAL = (3, 4, 5)  # SUCCEEDED, FAILED, CANCELLED


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory):
    """One coordinator and its peers for a module: starting a process costs seconds."""
    async with World(tmp_path_factory.mktemp("world")) as world:
        coordinator = Coordinator(world)
        try:
            await coordinator.start()
            yield coordinator
        finally:
            await coordinator.close()


@pytest_asyncio.fixture(loop_scope="module")
async def coordinator(stack):
    if stack.process.poll() is not None:  # a test that failed left it dead
        await stack.start()
    return stack


@pytest.fixture
def world(stack, model):
    """The peers, with every knob as it was."""
    stack.world.reset()
    stack.world.model = model
    return stack.world
