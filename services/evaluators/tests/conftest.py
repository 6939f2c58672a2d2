"""Fixtures: packs, an imported DecodingTrust, and the evaluator as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from hypothesis import settings

from assay_core.client import call, channel
from assay_core.errors import AssayError
from assay_core.logs import configure_logging
from assay_core.pb import evaluation_pb2 as pb
from assay_core.pb import evaluation_pb2_grpc, serving_pb2, state_pb2

sys.path.insert(0, str(Path(__file__).parent))

from mini_pack import write_mini_pack
from real_data import DECODINGTRUST
from synthetic_serving import ARTIFACT

from assay_evaluators.packs.decodingtrust import import_decodingtrust
from assay_evaluators.packs.loading import Pack

configure_logging("tests", "error")
# A loaded machine is no defect: examples have no deadline.
settings.register_profile("assay", deadline=None)
settings.load_profile("assay")

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def mini_pack(tmp_path_factory) -> Pack:
    out = tmp_path_factory.mktemp("packs") / "mini"
    write_mini_pack(out)
    return Pack.open(str(out))


@pytest.fixture(scope="session")
def mini_uri(mini_pack) -> str:
    return mini_pack._store.uri


@pytest.fixture(scope="session")
def decodingtrust() -> Path:
    """The user's checkout of DecodingTrust, or the folder that stands in for one."""
    if not (DECODINGTRUST / "data").is_dir():
        pytest.skip("no DecodingTrust data; set ASSAY_TEST_DECODINGTRUST to a checkout")
    return DECODINGTRUST


@pytest.fixture(scope="session")
def imported(decodingtrust, tmp_path_factory):
    out = tmp_path_factory.mktemp("imported") / "pack"
    report = import_decodingtrust(decodingtrust, out)
    return report, Pack.open(str(out), digest=report.pack_digest)


class Evaluator:
    """`assay-evaluator` as a process, and calls to it."""

    def __init__(self, dimension: str, home: Path, serving: str, pack: str, options=()):
        self.dimension, self.home, self.serving, self.pack = dimension, home, serving, pack
        self.options = options
        self.process: subprocess.Popen | None = None
        self.channel: grpc.aio.Channel | None = None

    async def start(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.process = subprocess.Popen(  # noqa: ASYNC220 (it returns at once)
            [Path(sys.executable).with_name("assay-evaluator"), "--dimension", self.dimension,
             "--listen", address, "--metrics-listen", "off", "--home", str(self.home),
             "--serving", self.serving, "--log-level", "warning", "--generate-attempts", "3",
             *self.options],
        )  # fmt: skip
        self.channel = channel(address)
        self.stub = evaluation_pb2_grpc.EvaluationServiceStub(self.channel)
        deadline = time.monotonic() + 180
        while True:
            try:
                await call(self.stub.GetServerInfo, pb.GetServerInfoRequest(), timeout=2)
                return
            except AssayError:
                assert self.process.poll() is None, "the evaluator ended at its start"
                assert time.monotonic() < deadline, "the evaluator did not come up"
                await asyncio.sleep(0.1)

    async def kill(self, number=signal.SIGKILL):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            await asyncio.to_thread(self.process.wait, 30)
        if self.channel is not None:
            await self.channel.close()

    def spec(self, **changes) -> pb.EvaluationSpec:
        engine = serving_pb2.EngineIdentity(
            family="synthetic", version="1", dtype="none", kv_cache_dtype="none",
            max_model_len=8192, device_class="cpu",
        )  # fmt: skip
        subject = pb.Subject(artifact_digest=ARTIFACT, engine=engine)
        fields = {"dimension": self.dimension, "pack": pb.PackRef(uri=self.pack)}
        return pb.EvaluationSpec(**({"subject": subject} | fields | changes))

    async def plan(self, **changes) -> pb.PlanEvaluationResponse:
        request = pb.PlanEvaluationRequest(spec=self.spec(**changes))
        return await call(self.stub.PlanEvaluation, request)

    async def create(self, *, lease="lease-1", parsers=(), **changes) -> pb.Evaluation:
        request = pb.CreateEvaluationRequest(spec=self.spec(**changes), parser_versions=parsers)
        if lease:
            request.lease.id = lease
            request.lease.artifact_digest = ARTIFACT
        return (await call(self.stub.CreateEvaluation, request)).evaluation

    async def get(self, evaluation_id: str) -> pb.Evaluation:
        request = pb.GetEvaluationRequest(id=evaluation_id)
        return (await call(self.stub.GetEvaluation, request)).evaluation

    async def reach(self, evaluation_id: str, *states: str, seconds: float = 180) -> pb.Evaluation:
        deadline = time.monotonic() + seconds
        while True:
            evaluation = await self.get(evaluation_id)
            name = state_pb2.State.Name(evaluation.meta.state)
            if name.removeprefix("STATE_") in states:
                return evaluation
            assert "FAILED" not in name, evaluation.meta.error
            assert time.monotonic() < deadline, f"still {name}"
            await asyncio.sleep(0.05)

    async def ends(self, evaluation_id: str) -> pb.Evaluation:
        """The evaluation once it has failed."""
        deadline = time.monotonic() + 180
        while (evaluation := await self.get(evaluation_id)).meta.state != state_pb2.STATE_FAILED:
            assert time.monotonic() < deadline, "it does not fail"
            await asyncio.sleep(0.05)
        return evaluation

    async def run(self, **arguments) -> pb.Evaluation:
        evaluation = await self.create(**arguments)
        return await self.reach(evaluation.meta.id, "SUCCEEDED")


@pytest.fixture
def evaluator(tmp_path, mini_uri):
    """Starts evaluators; kills what is left at the end."""

    @asynccontextmanager
    async def start(
        dimension: str, serving: str, pack: str = mini_uri, home: str = "home", options=()
    ):
        process = Evaluator(dimension, tmp_path / home, serving, pack, options)
        await process.start()
        try:
            yield process
        finally:
            await process.kill()

    return start
