"""When the requests of a replay are sent, and how long each took.

Closed loop: a fixed number in flight, the next when one is answered. Open loop: a Poisson process,
whatever the answers do; a request that finds no room counts from when it should have been sent, so
that a slow side cannot hide its queue (coordinated omission). The gap before a prompt is drawn from
the seed and the prompt's id, so that both sides of a comparison, and a resumed replay, have the
same gaps.

Each stream begins with requests that are not measured, because the first after a change of weights
pay for what later ones do not: some of the replay's own prompts, two rounds of what it has in
flight, behind a beginning of their own, so that none of the prompts is in the prefix cache for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Callable, Iterable
from itertools import islice

from assay_core.pb import serving_pb2
from assay_evaluators.sdk.spec import Replay

WARM_UP = "warm-up "
"""What the id of a request that is not measured begins with."""

_MOST_WARM_UPS = 32
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
        self._warming: set[str] = set()
        self._began = 0.0
        self._segment = 0.0
        self._next = 0.0
        self._arrived: dict[str, float] = {}

    def in_flight(self, limit: int) -> int:
        """Most requests in flight: of a closed loop its own, of an open one the evaluator's."""
        return limit if self._replay.arrival_rate else min(limit, self._replay.concurrency)

    def warm_ups(self, items: Iterable[serving_pb2.GenerateItem]) -> list[serving_pb2.GenerateItem]:
        """What is sent before the replay: two rounds of the requests that a load has in flight."""
        most = min(_MOST_WARM_UPS, 2 * self.in_flight(_MOST_WARM_UPS))
        made = [_as_warm_up(item, number) for number, item in enumerate(islice(items, most))]
        self._warming = {item.id for item in made}
        if not made:
            self._warm.set()
        return made

    def warmed(self, item_id: str) -> None:
        """One of them was answered."""
        self._warming.discard(item_id)
        if not self._warming:
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


def _as_warm_up(item: serving_pb2.GenerateItem, number: int) -> serving_pb2.GenerateItem:
    """A request of the replay's own shape whose beginning no prompt of it has."""
    warm = serving_pb2.GenerateItem()
    warm.CopyFrom(item)
    warm.id = f"{WARM_UP}{number}"
    warm.completion_indices[:] = [0]
    if warm.WhichOneof("prompt") == "chat":
        first = warm.chat.messages[0]
        first.content = f"{WARM_UP}{number}. {first.content}"
    return warm
