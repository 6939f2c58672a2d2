"""The real service on the GPU: progress, a cancel, a resumed job and a killed worker."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from benchmarks.compression.random_llama import write_random_llama
from conftest import Service, running_service
from tests.gpu.jobs import make
from tiny_llama import write_calibration, write_tokenizer

from assay_core.client import call
from assay_core.pb import common_pb2, compression_pb2
from assay_core.recipes import Recipe

RECIPE = {"gptq": {"bits": 4}}
SAMPLES, LENGTH = 64, 64
# Small layers, and enough of them to be met at work.
SIZES = {
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "vocab_size": 97,
}


def run(folder: Path, device: str) -> Iterator[str]:
    """Lines that say what was seen.

    Raises:
        SystemExit: If the artifact is not that of an undisturbed job.
    """
    model = folder / "model"
    write_random_llama(model, **SIZES)
    write_tokenizer(model)
    text = write_calibration(folder / "calibration.jsonl", rows=200)
    settings = {"ASSAY_COMPRESSION_DEVICE": device, "ASSAY_COMPRESSION_LOG_LEVEL": "warning"}
    with running_service(folder / "home", text, **settings) as service:
        lines, digest = asyncio.run(_disturbed(service, model))
    yield from lines
    undisturbed = make(
        folder / "other", model, RECIPE, device, text=text, samples=SAMPLES, length=LENGTH
    )
    if digest.removeprefix("sha256:") != undisturbed.name:
        raise SystemExit("service: the resumed job's artifact is not the undisturbed one's")
    yield "service: the artifact is that of an undisturbed job"


async def _disturbed(service: Service, model: Path) -> tuple[list[str], str]:
    recipe = Recipe.parse(RECIPE).to_proto()
    calibration = common_pb2.Calibration(samples=SAMPLES, sequence_length=LENGTH)
    began = time.monotonic()
    created = await service.create(model, recipe, calibration=calibration)
    before = await _layers(service, created.meta.id, 3)
    first = time.monotonic() - began
    async with service.stub() as stub:
        await call(stub.CancelVariant, compression_pb2.CancelVariantRequest(id=created.meta.id))
    cancelled = await service.finish(created.meta.id)
    if cancelled.meta.state != common_pb2.STATE_CANCELLED:
        raise SystemExit(f"service: {cancelled.meta.state} after a cancel, not CANCELLED")
    again = await service.create(model, recipe, calibration=calibration)
    resumed = await _layers(service, again.meta.id, before + 1)
    worker = _worker(service)
    os.kill(worker, signal.SIGKILL)
    made = await service.finish(again.meta.id)
    if made.meta.state != common_pb2.STATE_SUCCEEDED:
        raise SystemExit(f"service: the job failed after its worker was killed: {made.meta.error}")
    lines = [
        f"service: {before} layers done {first:.1f} s after the request, then cancelled",
        f"service: resumed and at layer {resumed} when its worker was killed; ended "
        f"{time.monotonic() - began:.1f} s after the first request, on {made.artifact.run.device}",
    ]
    return lines, made.artifact.digest


async def _layers(service: Service, variant: str, least: int) -> int:
    """How many layers are done, once that is `least`."""
    while True:
        found = await service.get(variant)
        if found.meta.progress.completed >= least:
            return int(found.meta.progress.completed)
        if found.meta.state not in (common_pb2.STATE_QUEUED, common_pb2.STATE_RUNNING):
            raise SystemExit(f"service: the job ended before it was met: {found.meta}")
        await asyncio.sleep(0.05)


def _worker(service: Service) -> int:
    """The process that works: the nursery's child."""
    (nursery,) = psutil.Process(service.process.pid).children()
    (worker,) = nursery.children()
    return int(worker.pid)
