"""Cancel, and `kill -9` of worker and service in the middle of a job."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import psutil
import pytest
from conftest import Service, running_service

from assay_core.client import call
from assay_core.pb import common_pb2, compression_pb2
from assay_core.recipes import Recipe

pytestmark = pytest.mark.compression

# Long enough per layer that a kill lands inside one.
CALIBRATION = common_pb2.Calibration(samples=512, sequence_length=64)
GPTQ = Recipe.parse({"gptq": {"bits": 4, "group_size": 32}}).to_proto()


def workers(service: Service) -> list[psutil.Process]:
    """Processes that run a job: the children of the nursery, which is a child of the service."""
    (nursery,) = psutil.Process(service.process.pid).children()
    return nursery.children()


def ended(process: psutil.Process) -> bool:
    """An orphan stays a zombie where nobody reaps it, as in a container without an init."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def until_ended(process: psutil.Process) -> None:
    for _ in range(300):
        if ended(process):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the process did not end in half a minute")


async def until_layer(service: Service, variant: str, layer: int) -> None:
    async with service.stub() as stub:
        request = compression_pb2.WatchVariantRequest(id=variant)
        async for change in stub.WatchVariant(request, timeout=240):
            assert change.variant.meta.state != common_pb2.STATE_FAILED, change.variant.meta.error
            if change.variant.meta.progress.completed >= layer:
                return


@pytest.fixture(scope="module")
def undisturbed(service, checkpoint) -> str:
    made = asyncio.run(service.make(checkpoint, GPTQ, calibration=CALIBRATION))
    return made.artifact.digest


async def test_killed_worker_is_started_again_and_resumes(
    tmp_path, checkpoint, calibration_file, undisturbed
):
    with running_service(tmp_path / "home", calibration_file) as service:
        created = await service.create(checkpoint, GPTQ, calibration=CALIBRATION)
        await until_layer(service, created.meta.id, 1)
        (worker,) = workers(service)
        worker.kill()
        made = await service.finish(created.meta.id)
        assert made.meta.state == common_pb2.STATE_SUCCEEDED, made.meta.error
        assert made.artifact.digest == undisturbed
        assert not list((tmp_path / "home" / "work" / "compression").glob("*/files"))


async def test_killed_service_leaves_no_worker_and_its_successor_resumes(
    tmp_path, checkpoint, calibration_file, undisturbed
):
    home = tmp_path / "home"
    with running_service(home, calibration_file) as service:
        created = await service.create(checkpoint, GPTQ, calibration=CALIBRATION)
        await until_layer(service, created.meta.id, 1)
        (worker,) = workers(service)
        service.kill()
        await until_ended(worker)
    layers = list((home / "work" / "compression").glob("*/layers/*.json"))
    assert layers
    before = [layer.stat().st_mtime_ns for layer in layers]
    with running_service(home, calibration_file) as successor:
        await until_layer(successor, created.meta.id, 1)
        assert [layer.stat().st_mtime_ns for layer in layers if layer.exists()] == before
        made = await successor.finish(created.meta.id)
        assert made.meta.state == common_pb2.STATE_SUCCEEDED, made.meta.error
        assert made.artifact.digest == undisturbed


async def test_cancelled_job_ends_its_worker_and_can_be_taken_up_again(
    tmp_path, checkpoint, calibration_file, undisturbed
):
    with running_service(tmp_path / "home", calibration_file) as service:
        created = await service.create(checkpoint, GPTQ, calibration=CALIBRATION)
        await until_layer(service, created.meta.id, 1)
        (worker,) = workers(service)
        async with service.stub() as stub:
            request = compression_pb2.CancelVariantRequest(id=created.meta.id)
            await call(stub.CancelVariant, request)
            cancelled = await service.finish(created.meta.id)
            assert cancelled.meta.state == common_pb2.STATE_CANCELLED
            await until_ended(worker)
            repeated = (await call(stub.CancelVariant, request)).variant
            assert repeated.meta.state == common_pb2.STATE_CANCELLED
        again = await service.make(checkpoint, GPTQ, calibration=CALIBRATION)
        assert again.meta.id == created.meta.id
        assert again.artifact.digest == undisturbed


async def test_sigterm_hands_the_job_back_to_the_queue(tmp_path, checkpoint, calibration_file):
    with running_service(tmp_path / "home", calibration_file) as service:
        created = await service.create(checkpoint, GPTQ, calibration=CALIBRATION)
        async with service.stub() as stub:
            request = compression_pb2.WatchVariantRequest(id=created.meta.id)
            async for change in stub.WatchVariant(request, timeout=240):
                if change.variant.meta.progress.phase:
                    break
        (worker,) = workers(service)
        assert service.stop() == 0
        assert ended(worker)
    with running_service(tmp_path / "home", calibration_file) as successor:
        found = await successor.get(created.meta.id)
        assert found.meta.state in (common_pb2.STATE_QUEUED, common_pb2.STATE_RUNNING)


@pytest.fixture
def small_disk(tmp_path) -> Path:
    """A home on a file system of its own, and small."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leaves no byte free."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space"):
        while stream.write(bytes(4096)):
            pass
    return filler


async def test_a_full_disk_ends_the_job_clearly_and_with_room_it_resumes(
    small_disk, checkpoint, calibration_file, undisturbed
):
    with running_service(
        small_disk, calibration_file, ASSAY_COMPRESSION_DISK_RESERVE_BYTES="0"
    ) as service:
        created = await service.create(checkpoint, GPTQ, calibration=CALIBRATION)
        await until_layer(service, created.meta.id, 1)
        filler = fill(small_disk)
        # The database is on the full disk too: the job's end waits for room in it.
        (worker,) = workers(service)
        await until_ended(worker)
        filler.unlink()
        failed = await service.finish(created.meta.id)
        assert failed.meta.state == common_pb2.STATE_FAILED
        assert failed.meta.error.reason == "DISK_FULL"
        assert "layers that are done are kept" in failed.meta.error.remedy
        assert list((small_disk / "work" / "compression").glob("*/layers/00000.json"))
        made = await service.make(checkpoint, GPTQ, calibration=CALIBRATION)
        assert made.meta.state == common_pb2.STATE_SUCCEEDED, made.meta.error
        assert made.artifact.digest == undisturbed
