"""The real service in a folder of its own, and the jobs that the benchmark asks of it."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from assay_core.client import call, channel, stream
from assay_core.errors import AssayError, from_proto
from assay_core.pb import common_pb2, compression_pb2, compression_pb2_grpc
from assay_core.recipes import Recipe

_START_SECONDS = 120


@dataclass(frozen=True)
class Made:
    """An artifact and what it cost.

    Attributes:
        folder: Where it lies.
        seconds: From CreateVariant to the end of the job, as a caller waits.
        artifact: What the service says of it.
    """

    folder: Path
    seconds: float
    artifact: compression_pb2.Artifact


@contextmanager
def running(home: Path, calibration: Path, threads: int) -> Iterator[str]:
    """Starts the service; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    environment = os.environ | {
        "ASSAY_HOME": str(home),
        "ASSAY_LOG_LEVEL": "error",
        "ASSAY_COMPRESSION_LISTEN": address,
        "ASSAY_COMPRESSION_METRICS_LISTEN": "off",
        "ASSAY_COMPRESSION_CALIBRATIONS": f'{{"demo": "{calibration}"}}',
        "ASSAY_COMPRESSION_WORKER_THREADS": str(threads),
        # The libraries stay imported while the bare call has its turn.
        "ASSAY_COMPRESSION_WORKER_IDLE_SECONDS": "3600",
    }
    with (home / "service.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "assay_compression.main"],
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            yield address
        finally:
            process.terminate()
            process.wait(30)


async def make(
    address: str, model: Path, recipe: Recipe, calibration: common_pb2.Calibration
) -> Made:
    """Makes one variant and waits for it.

    Raises:
        AssayError: Why the job failed.
    """
    request = compression_pb2.CreateVariantRequest(
        model=common_pb2.ModelRef(uri=str(model)),
        recipe=recipe.to_proto(),
        calibration=calibration,
    )
    async with channel(address) as open_channel:
        stub = compression_pb2_grpc.CompressionServiceStub(open_channel)
        started = time.monotonic()
        variant = (await call(stub.CreateVariant, request, timeout=_START_SECONDS)).variant
        watched = compression_pb2.WatchVariantRequest(id=variant.meta.id)
        async for change in stream(stub.WatchVariant, watched):
            variant = change.variant
        seconds = time.monotonic() - started
    if variant.meta.state != common_pb2.STATE_SUCCEEDED:
        raise from_proto(variant.meta.error)
    return Made(Path(urlsplit(variant.artifact.uri).path), seconds, variant.artifact)


async def wait_until_ready(address: str) -> None:
    """Waits for the service's first answer.

    Raises:
        AssayError: If there is none in two minutes.
    """
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            async with channel(address) as open_channel:
                stub = compression_pb2_grpc.CompressionServiceStub(open_channel)
                await call(stub.GetServerInfo, compression_pb2.GetServerInfoRequest())
        except AssayError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.5)
        else:
            return
