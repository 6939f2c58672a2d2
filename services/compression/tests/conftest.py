"""A real service process on a free port, and the checkpoints it works on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

# Helpers beside this file; tests are imported by path and have no package.
sys.path.insert(0, str(Path(__file__).parent))

from tiny_llama import write_calibration, write_checkpoint

from assay_core.client import call, channel
from assay_core.pb import common_pb2, compression_pb2, compression_pb2_grpc


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What needs an environment beside ours is run when it is asked for by its mark."""
    for mark in ("gptqmodel", "autogptq"):
        if mark not in config.getoption("markexpr"):
            for item in items:
                if item.get_closest_marker(mark):
                    item.add_marker(pytest.mark.skip(reason=f"make test-{mark}"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Service:
    """A running service process and a client for it."""

    process: subprocess.Popen[bytes]
    home: Path
    port: int

    @asynccontextmanager
    async def stub(self) -> AsyncIterator[compression_pb2_grpc.CompressionServiceStub]:
        async with channel(f"127.0.0.1:{self.port}") as open_channel:
            yield compression_pb2_grpc.CompressionServiceStub(open_channel)

    async def create(self, model: Path | str, recipe: common_pb2.Recipe, **fields):
        request = compression_pb2.CreateVariantRequest(
            model=common_pb2.ModelRef(uri=str(model)), recipe=recipe, **fields
        )
        async with self.stub() as stub:
            return (await call(stub.CreateVariant, request)).variant

    async def get(self, variant: str):
        async with self.stub() as stub:
            request = compression_pb2.GetVariantRequest(id=variant)
            return (await call(stub.GetVariant, request)).variant

    async def finish(self, variant: str, seconds: float = 300):
        """Watches a variant to its end."""
        async with self.stub() as stub:
            request = compression_pb2.WatchVariantRequest(id=variant)
            async for change in stub.WatchVariant(request, timeout=seconds):
                last = change.variant
        return last

    async def make(self, model: Path | str, recipe: common_pb2.Recipe, **fields):
        created = await self.create(model, recipe, **fields)
        return await self.finish(created.meta.id)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def running_service(home: Path, calibration: Path, **settings: str) -> Iterator[Service]:
    port = free_port()
    environment = os.environ | {
        "ASSAY_HOME": str(home),
        "ASSAY_COMPRESSION_LISTEN": f"127.0.0.1:{port}",
        "ASSAY_COMPRESSION_METRICS_LISTEN": "off",
        "ASSAY_COMPRESSION_CALIBRATIONS": f'{{"demo": "{calibration}"}}',
        **settings,
    }
    process = subprocess.Popen([sys.executable, "-m", "assay_compression.main"], env=environment)
    try:
        wait_until_serving(process, port)
        yield Service(process, home, port)
    finally:
        process.kill()
        process.wait()


def wait_until_serving(process: subprocess.Popen[bytes], port: int) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as probe:
        ready = grpc.channel_ready_future(probe)
        for _ in range(480):
            assert process.poll() is None, "the service ended at its start"
            try:
                ready.result(timeout=0.5)
            except grpc.FutureTimeoutError:
                continue
            return
    raise AssertionError("the service did not start in four minutes")


@pytest.fixture(scope="session")
def calibration_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_calibration(tmp_path_factory.mktemp("calibration") / "calibration.jsonl")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, calibration_file: Path) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("home"), calibration_file) as running:
        yield running


def small_calibration(seed: int = 0) -> common_pb2.Calibration:
    return common_pb2.Calibration(samples=8, sequence_length=32, seed=seed)
