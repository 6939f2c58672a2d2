"""What the small servers of `fake_peers` share: digests, gates, watches."""

from __future__ import annotations

import asyncio
import hashlib

from assay_core.pb import (
    common_pb2,
)

S = common_pb2.State
TERMINAL = (S.STATE_SUCCEEDED, S.STATE_FAILED, S.STATE_CANCELLED)


def digest(*parts: object) -> str:
    return "sha256:" + hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()


class Gate:
    """Work whose artifact it holds stops half-way, until it is opened."""

    def __init__(self) -> None:
        self._held: set[str] | None = set()
        self._released: set[str] = set()

    def hold(self, *artifacts: str) -> None:
        """Hold these artifacts, or all."""
        self._held = set(artifacts) or None
        self._released.clear()

    def release(self, artifact: str) -> None:
        """Let one artifact go on."""
        self._released.add(artifact)

    def open(self) -> None:
        """Let everything go on."""
        self._held = set()

    def holds(self, artifact: str) -> bool:
        held = self._held is None or artifact in self._held
        return held and artifact not in self._released

    async def passed(self, artifact: str) -> None:
        while self.holds(artifact):  # noqa: ASYNC110 - a gate is opened by what a test sees
            await asyncio.sleep(0.01)


async def watch(resource, response):
    """Yield a message each time its bytes change, until its state is terminal."""
    seen = None
    while True:
        now = resource.SerializeToString()
        if now != seen:
            seen = now
            yield response()
        if resource.meta.state in TERMINAL:
            return
        await asyncio.sleep(0.02)
