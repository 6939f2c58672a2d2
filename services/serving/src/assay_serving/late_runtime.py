"""Ray brought in late: imported and started with the first model.

The gateway is ready within seconds and answers what needs no engine. Everything that Ray reads from
the environment is set here, before it is imported.
"""

from __future__ import annotations

import importlib
import os
import secrets
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any

from assay_serving.domain import Answer, EngineSpec, Failure, Item, ReplicaStatus
from assay_serving.ray_paths import ray_directory
from assay_serving.runtime import EngineUnreachableError, RaySettings


class LateRuntime:
    """A `Runtime` that imports and starts Ray when the first engine is deployed.

    Args:
        settings: How Ray is sized.
        on_started: Called once from a worker thread, when Ray is up and before an engine is.
    """

    def __init__(self, settings: RaySettings, on_started: Callable[[], object]) -> None:
        self._settings = settings
        self._on_started = on_started
        self._lock = threading.Lock()
        self._ray: Any = None
        self._stopped = False

    def deploy(self, engine_id: str, spec: EngineSpec, path: str, digest: str) -> Any:
        """See `Runtime`."""
        with self._lock:
            if self._stopped:
                raise EngineUnreachableError("the server is shutting down")
            if self._ray is None:
                _prepare_environment(self._settings)
                module = importlib.import_module("assay_serving.ray_runtime")
                self._ray = module.RayRuntime(self._settings)
            if self._ray.ensure_started():
                self._on_started()
        return self._ray.deploy(engine_id, spec, path, digest)

    def statuses(self, handle: Any) -> list[ReplicaStatus]:
        """See `Runtime`."""
        found: list[ReplicaStatus] = self._ray.statuses(handle)
        return found

    def generate(
        self, handle: Any, items: Sequence[Item], digest: str
    ) -> AsyncGenerator[list[Answer], None]:
        """See `Runtime`."""
        answers: AsyncGenerator[list[Answer], None] = self._ray.generate(handle, items, digest)
        return answers

    async def count_tokens(self, handle: Any, items: Sequence[Item]) -> list[int | Failure]:
        """See `Runtime`."""
        counts: list[int | Failure] = await self._ray.count_tokens(handle, items)
        return counts

    async def memory(self, handle: Any) -> int:
        """See `Runtime`."""
        found: int = await self._ray.memory(handle)
        return found

    def delete(self, engine_id: str) -> None:
        """See `Runtime`."""
        self._ray.delete(engine_id)

    def stop(self) -> None:
        """See `Runtime`. A start that is under way is waited for, and its engine fails."""
        with self._lock:
            self._stopped = True
            if self._ray is not None:
                self._ray.stop()


def _prepare_environment(settings: RaySettings) -> None:
    """Settings that Ray reads once, when it is first imported.

    Its defaults would write a token to the user's home and report usage. A cluster that is joined
    has its own token, which the operator mounts.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")
    # Ray's workers are nice 15 by default; the engine is what the machine is there for, and beside
    # a compression job it would starve.
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    # A call after `stop` must fail, and not start another Ray with Ray's own defaults.
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"
    if not settings.address:
        # Despite its name this is what keeps every Ray process on 127.0.0.1: with clusters enabled,
        # Ray replaces a loopback address by one that other machines reach.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        token = _token_file(ray_directory(settings.home))
        os.environ.setdefault("RAY_AUTH_TOKEN_PATH", str(token))


def _token_file(directory: Path) -> Path:
    """A random token that only this user can read; Ray's processes inherit its path."""
    file = directory / "auth_token"
    if not file.exists():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_hex(32))
    return file
