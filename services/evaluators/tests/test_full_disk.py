"""A disk that fills up while completions arrive: a clear end, and a resume from what was stored."""

from __future__ import annotations

import asyncio
import subprocess
import time

import pytest
from synthetic_serving import SyntheticServing, random_words, serving

from assay_core.pb import state_pb2

HOME = "small"


@pytest.fixture
def small_disk(tmp_path):
    """A data root that is really full after 16 kB; `grow` gives it room."""
    folder = tmp_path / HOME / "data"
    folder.mkdir(parents=True)

    def mount(options: str) -> int:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    if mount("size=16k"):
        pytest.skip("mounting a small file system needs root")
    yield lambda: mount("remount,size=64m")
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def ended(service, evaluation):
    deadline = time.monotonic() + 120
    while evaluation.meta.state in (state_pb2.STATE_QUEUED, state_pb2.STATE_RUNNING):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
        evaluation = await service.get(evaluation.meta.id)
    return evaluation


async def test_a_full_disk_ends_the_evaluation_clearly_and_more_room_lets_it_go_on(
    evaluator, tmp_path, small_disk
):
    calm, cramped = SyntheticServing(random_words), SyntheticServing(random_words)
    async with serving(calm, tmp_path) as address, evaluator("stereotype", address) as service:
        undisturbed = await service.run()
    async with (
        serving(cramped, tmp_path) as address,
        evaluator("stereotype", address, home=HOME) as service,
    ):
        failed = await ended(service, await service.create())
        assert failed.meta.state == state_pb2.STATE_FAILED
        assert failed.meta.error.reason == "STORAGE_FULL"
        assert "free space" in failed.meta.error.remedy
        assert small_disk() == 0
        survivor = await ended(service, await service.create())
    assert survivor.meta.id == failed.meta.id
    assert survivor.meta.state == state_pb2.STATE_SUCCEEDED
    assert survivor.scores[0].verdicts_digest == undisturbed.scores[0].verdicts_digest
