"""An engine that scales by its load never answers with other weights (`make test-scaling`)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from services.serving.tests.conftest import Client, Gateway, descendants, start_gateway, until

from assay_core.pb import serving_pb2 as pb

pytestmark = [pytest.mark.engine, pytest.mark.slow]

SCALE_SECONDS = 400.0
CALLERS = 6
OPTIONS = pb.EngineOptions(replicas=1, max_replicas=2, target_ongoing_requests=1)


def items() -> list[pb.GenerateItem]:
    sampling = pb.SamplingParameters(temperature=1.0, max_tokens=96)
    return [
        pb.GenerateItem(id=f"i{i}", text="the quick", sampling=sampling, seed=i, n=4)
        for i in range(16)
    ]


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    started = start_gateway(tmp_path_factory.mktemp("home"), engine_threads="1")
    yield started
    started.process.terminate()
    started.process.wait(timeout=60)


def engines(gateway: Gateway) -> int:
    """Engine cores that run: one per replica."""
    return sum("VLLM::EngineCore" in name for name in descendants(gateway.process.pid).values())


def replicas(gateway: Gateway) -> int:
    """Replica processes, those that start included."""
    return sum("ray::ServeReplica" in name for name in descendants(gateway.process.pid).values())


async def texts(client: Client, lease) -> dict[tuple[str, int], str]:
    found = await client.generate(lease, items(), per_message=4)
    return {key: completion.text for key, completion in found.items()}


class Load:
    """Callers that generate on one lease until they are told to stop."""

    def __init__(self, client: Client, lease, expected) -> None:
        self._stop = asyncio.Event()
        self.rounds = 0
        self.wrong = 0
        self._tasks = [
            asyncio.create_task(self._call(client, lease, expected)) for _ in range(CALLERS)
        ]

    async def _call(self, client: Client, lease, expected) -> None:
        while not self._stop.is_set():
            self.wrong += await texts(client, lease) != expected
            self.rounds += 1

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)
        assert self.wrong == 0
        assert self.rounds >= CALLERS


async def test_replicas_that_are_added_hold_the_wanted_weights_also_across_a_swap(scaled, variants):
    async with scaled.client() as client:
        expected = {}
        for name in "ba":  # one replica: what each variant answers
            async with client.leased(variants[name], options=OPTIONS) as lease:
                expected[name] = await texts(client, lease)
        assert expected["a"] != expected["b"]
        assert engines(scaled) == 1

        # Load on `a` makes Serve start a second replica; while that starts, `b` is swapped in.
        lease = await client.load(variants["a"], ttl=600, options=OPTIONS)
        load = Load(client, lease, expected["a"])
        await until(lambda: replicas(scaled) == 2, SCALE_SECONDS)
        await load.stop()
        await client.release(lease)
        lease = await client.load(variants["b"], ttl=600, options=OPTIONS)
        load = Load(client, lease, expected["b"])
        await until(lambda: engines(scaled) == 2, SCALE_SECONDS)
        before = load.rounds
        await until(lambda: load.rounds >= before + 2 * CALLERS, SCALE_SECONDS)
        await load.stop()
        await client.release(lease)

        # Both replicas are swapped back together.
        async with client.leased(variants["a"], options=OPTIONS) as lease:
            assert lease.model.swapped
            load = Load(client, lease, expected["a"])
            await until(lambda: load.rounds >= CALLERS, SCALE_SECONDS)
            await load.stop()
