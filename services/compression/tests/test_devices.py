"""Several devices: a worker each, which sees its own and no other; jobs wait for a free one."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path

import psutil
import pytest
from conftest import free_port, running_service
from pydantic import ValidationError
from tiny_llama import write_checkpoint

from assay_compression.jobs.workers import Nursery, visible_devices
from assay_compression.settings import CompressionSettings
from assay_core.errors import InvalidArgument
from assay_core.pb import common_pb2
from assay_core.recipes import Recipe

CALIBRATION = common_pb2.Calibration(samples=512, sequence_length=64)
GPTQ = Recipe.parse({"gptq": {"bits": 4, "group_size": 32}}).to_proto()


@pytest.mark.parametrize(
    ("device", "visible", "expected"),
    [
        ("cpu", None, ""),
        ("cpu", "0,1", ""),
        ("cuda", None, None),
        ("cuda", "3", "3"),
        ("cuda:1", None, "1"),
        ("cuda:1", "4,7", "7"),
        ("cuda:0", "GPU-8f", "GPU-8f"),
    ],
)
def test_a_worker_sees_its_own_device_alone(device, visible, expected):
    assert visible_devices(device, visible) == expected


def test_a_device_that_the_service_does_not_see_is_refused_at_its_start(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    with pytest.raises(InvalidArgument, match="cuda:2") as caught:
        Nursery(1, "cuda:2")
    assert caught.value.field == "devices"


def test_devices_take_the_place_of_workers_and_device():
    assert CompressionSettings(workers=3).places == ["cpu", "cpu", "cpu"]
    settings = CompressionSettings(workers=3, devices=["cuda:0", "cuda:2"])
    assert settings.places == ["cuda:0", "cuda:2"]


@pytest.mark.parametrize("name", ["gpu0", "cuda", "cuda:", "cuda:x"])
def test_a_device_has_a_kind_and_a_number(name):
    with pytest.raises(ValidationError):
        CompressionSettings(devices=[name])


def metric(port: int, name: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return next(line for line in lines if line.startswith(name))


@pytest.mark.compression
async def test_as_many_jobs_run_as_there_are_devices_and_the_others_wait(
    tmp_path: Path, calibration_file
):
    port = free_port()
    with running_service(
        tmp_path / "home",
        calibration_file,
        ASSAY_COMPRESSION_DEVICES='["cpu", "cpu"]',
        ASSAY_COMPRESSION_METRICS_LISTEN=f"127.0.0.1:{port}",
    ) as service:
        models = [write_checkpoint(tmp_path / f"m{seed}", seed=seed) for seed in range(3)]
        created = [await service.create(m, GPTQ, calibration=CALIBRATION) for m in models]
        states: list[int] = []
        while states.count(common_pb2.STATE_RUNNING) < 2:
            found = [await service.get(variant.meta.id) for variant in created]
            states = [variant.meta.state for variant in found]
            assert common_pb2.STATE_FAILED not in states
            assert common_pb2.STATE_SUCCEEDED not in states, "too fast to see two at once"
            await asyncio.sleep(0.02)
        assert states.count(common_pb2.STATE_QUEUED) == 1
        assert metric(port, "assay_compression_device_jobs_running{").endswith(" 2.0")
        for nursery in psutil.Process(service.process.pid).children():
            assert nursery.environ()["CUDA_VISIBLE_DEVICES"] == ""
        done = [await service.finish(variant.meta.id) for variant in created]
        assert [variant.meta.state for variant in done] == [common_pb2.STATE_SUCCEEDED] * 3
