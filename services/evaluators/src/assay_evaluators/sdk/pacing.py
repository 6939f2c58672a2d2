"""When the requests of a replay are sent, and how long each took.

Closed loop: a fixed number in flight, the next when one is answered. Open loop: a Poisson process,
whatever the answers do; a request that finds no room counts from when it should have been sent, so
that a slow side cannot hide its queue (coordinated omission). The gap before a prompt is drawn from
the seed and the prompt's id, so that both sides of a comparison, and a resumed replay, have the
same gaps.

Each stream begins with one request that is not measured: the first after a swap of weights pays for
what later ones do not.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Callable

from assay_core.pb import serving_pb2
from assay_evaluators.sdk.spec import Replay

WARM_UP = "warm-up"
_WARM_UP_TOKENS = 8
_UNIT = 2.0**-53


class Pace:
    """Paces one stream of a replay and measures it.

    Args:
        replay: The load.
        seed: Seed of the arrivals.
        clock: Monotonic seconds.
    """

    def __init__(
        self, replay: Replay, seed: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._replay = replay
        self._seed = seed
        self._clock = clock
        self._warm = asyncio.Event()
        self._began = 0.0
        self._segment = 0.0
        self._next = 0.0
        self._arrived: dict[str, float] = {}

    def in_flight(self, limit: int) -> int:
        """Most requests in flight: of a closed loop its own, of an open one the evaluator's."""
        return limit if self._replay.arrival_rate else min(limit, self._replay.concurrency)

    def is_warm(self) -> None:
        """The request before the measured ones was answered."""
        self._warm.set()

    async def begin(self) -> None:
        """Wait for the warm-up; time counts from here."""
        await self._warm.wait()
        self._began = self._clock()
        self._segment = time.time()

    async def arrival(self, sample_id: str) -> None:
        """Wait for the moment at which this prompt arrives, in an open loop."""
        if self._replay.arrival_rate:
            self._next += gap(self._seed, sample_id, self._replay.arrival_rate)
            await asyncio.sleep(max(0.0, self._began + self._next - self._clock()))

    def sent(self, item_id: str) -> None:
        """A request goes out: it arrived now, or when the open loop said."""
        now = self._clock() - self._began
        self._arrived[item_id] = self._next if self._replay.arrival_rate else now

    def timing(self, item_id: str) -> dict[str, float]:
        """What is stored with the answer that has just come."""
        arrival = self._arrived.pop(item_id)
        return {
            "segment": self._segment,
            "arrival": arrival,
            "latency": self._clock() - self._began - arrival,
        }


def gap(seed: int, sample_id: str, rate: float) -> float:
    """Seconds between a prompt's arrival and the one before: exponential with mean 1 / rate."""
    drawn = hashlib.sha256(f"arrival\0{seed}\0{sample_id}".encode()).digest()
    uniform = (int.from_bytes(drawn[:8]) >> 11) * _UNIT
    return -math.log1p(-uniform) / rate


def warm_up(lease_id: str, artifact_digest: str) -> serving_pb2.GenerateRequest:
    """The first message of a stream: a few tokens that are neither measured nor stored."""
    message = serving_pb2.ChatMessage(role="user", content="Hello")
    return serving_pb2.GenerateRequest(
        lease_id=lease_id,
        artifact_digest=artifact_digest,
        items=[
            serving_pb2.GenerateItem(
                id=WARM_UP,
                chat=serving_pb2.ChatMessages(messages=[message]),
                sampling=serving_pb2.SamplingParameters(temperature=0, max_tokens=_WARM_UP_TOKENS),
                seed=0,
                completion_indices=[0],
            )
        ],
    )
