"""The process that runs Ray: started on demand, ended in order, and its death is an answer.

No engine and no Ray is started; calls name engines that it does not have.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from services.serving.tests.conftest import command_of, until

from assay_serving.domain import EngineSpec
from assay_serving.ray_process import MODULE, RayProcess
from assay_serving.runtime import EngineUnreachableError, RaySettings

SPEC = EngineSpec(dtype="float32", kv_cache_dtype="auto", max_model_len=64)


@pytest.fixture
async def runtime(tmp_path: Path) -> AsyncIterator[RayProcess]:
    # An address where no Ray is: `deploy` gets as far as trying to join it.
    settings = RaySettings(home=tmp_path, address="127.0.0.1:9")
    made = RayProcess(settings, ("error", "json"))
    yield made
    await asyncio.to_thread(made.stop)
    assert not pids()


def pids() -> list[int]:
    """Of this process's own children: a gateway of other tests has one below it as well."""
    children = (child.pid for child in psutil.Process().children())
    return [pid for pid in children if f" -m {MODULE} " in command_of(pid)]


async def test_nothing_is_started_before_the_first_engine_and_stop_needs_nothing(runtime):
    await asyncio.to_thread(runtime.delete, "engine-x")
    assert not pids()


async def test_its_death_fails_the_call_under_way_and_the_next_one_starts_another(runtime):
    for _ in range(2):
        deploying = asyncio.create_task(asyncio.to_thread(runtime.deploy, "engine-x", SPEC, "", ""))
        await until(pids, 30)
        (process,) = pids()
        os.kill(process, signal.SIGKILL)
        with pytest.raises(EngineUnreachableError, match="has ended"):
            await deploying


async def test_after_stop_it_is_not_started_again(runtime):
    await asyncio.to_thread(runtime.stop)
    with pytest.raises(EngineUnreachableError, match="shutting down"):
        await asyncio.to_thread(runtime.deploy, "engine-x", SPEC, "", "")
