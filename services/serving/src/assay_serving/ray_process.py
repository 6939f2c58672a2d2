"""`Runtime` in a process of its own, which starts with the first model.

The gateway is ready within seconds and answers what needs no engine. When the process that runs Ray
dies, calls under way fail at once, and the next load starts another one.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from assay_core.logs import get_logger
from assay_serving.domain import Answer, EngineSpec, Failure, Item, ReplicaStatus
from assay_serving.parcel import open_answers, pack_items, typed
from assay_serving.ray_link import STOP, Link, write_frame
from assay_serving.ray_paths import ray_directory
from assay_serving.runtime import EngineUnreachableError, RaySettings

MODULE = "assay_serving.ray_host"

STOP_SECONDS = 60.0
"""Longest wait for Serve and Ray to end."""

ResultT = TypeVar("ResultT")
_LOG = get_logger("assay.serving.rayprocess")


@dataclass(frozen=True)
class Handle:
    """An engine of one process; it is of no use once that has ended."""

    link: Link
    engine_id: str


class RayProcess:
    """A `Runtime`. Made in the gateway's event loop; what blocks is called from other threads.

    Args:
        settings: How Ray is sized.
        logs: Level and format of the process's log, which goes where the gateway's goes.
    """

    def __init__(self, settings: RaySettings, logs: tuple[str, str]) -> None:
        self._settings = settings
        self._logs = logs
        self._loop = asyncio.get_running_loop()
        self._starting = asyncio.Lock()
        self._stopped = False
        self._link: Link | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    def deploy(self, engine_id: str, spec: EngineSpec, path: str, digest: str) -> Handle:
        """See `Runtime`."""
        return self._wait(self._deploy(engine_id, spec, path, digest))

    async def _deploy(self, engine_id: str, spec: EngineSpec, path: str, digest: str) -> Handle:
        link = await self._started()
        await link.call("deploy", engine_id, spec, path, digest)
        return Handle(link, engine_id)

    def statuses(self, handle: Handle) -> list[ReplicaStatus]:
        """See `Runtime`."""
        found = self._wait(handle.link.call("statuses", handle.engine_id))
        return typed(found, list[ReplicaStatus])

    async def generate(
        self, handle: Handle, items: Sequence[Item], digest: str
    ) -> AsyncGenerator[list[Answer], None]:
        """See `Runtime`."""
        parcels = handle.link.stream("generate", handle.engine_id, pack_items(items), digest)
        async with aclosing(parcels):
            async for parcel in parcels:
                yield open_answers(parcel)

    async def count_tokens(self, handle: Handle, items: Sequence[Item]) -> list[int | Failure]:
        """See `Runtime`."""
        counts = await handle.link.call("count_tokens", handle.engine_id, pack_items(items))
        return typed(counts, list[int | Failure])

    async def memory(self, handle: Handle) -> int:
        """See `Runtime`."""
        found: int = await handle.link.call("memory", handle.engine_id)
        return found

    def delete(self, engine_id: str) -> None:
        """See `Runtime`. A process that has ended has taken its engines with it."""
        self._wait(self._delete(engine_id))

    async def _delete(self, engine_id: str) -> None:
        if self._link is not None and not self._link.closed:
            try:
                await self._link.call("delete", engine_id)
            except EngineUnreachableError as error:
                _LOG.info("engine_gone_already", engine=engine_id, cause=str(error))

    def stop(self) -> None:
        """See `Runtime`. A start that is under way is waited for, and its engine fails."""
        self._wait(self._stop())

    def _wait(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """The result of something that runs in the gateway's loop. Blocks this thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _started(self) -> Link:
        async with self._starting:
            if self._stopped:
                raise EngineUnreachableError("the server is shutting down")
            if self._link is None or self._link.closed:
                await self._end()
                await self._start()
            if self._link is None:
                raise EngineUnreachableError("the process that runs Ray did not start")
            return self._link

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # In a session of its own: Ctrl-C is for the gateway, which ends this process in order.
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", MODULE, str(theirs.fileno())),
                env=os.environ | ray_environment(self._settings),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        write_frame(self._writer, (self._settings.document(), self._logs))
        self._link = Link(reader, self._writer)
        self._reading = asyncio.create_task(self._link.run(), name="assay-ray-link")

    async def _stop(self) -> None:
        self._stopped = True
        if self._writer is not None and self._link is not None and not self._link.closed:
            write_frame(self._writer, (0, STOP, ()))
        await self._end()

    async def _end(self) -> None:
        """Wait for the process to end; it does when its socket closes, or asked to."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            async with asyncio.timeout(STOP_SECONDS):
                code = await process.wait()
        except TimeoutError:
            process.kill()
            code = await process.wait()
        _LOG.info("ray_process_ended", code=code)
        if self._reading is not None:
            await self._reading


def ray_environment(settings: RaySettings) -> dict[str, str]:
    """Settings that Ray reads once, when it is first imported; the operator's own win.

    Its defaults would write a token to the user's home and report usage. A cluster that is joined
    has its own token, which the operator mounts.
    """
    wanted = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        # Ray's workers are nice 15 by default; the engine is what the machine is there for, and
        # beside a compression job it would starve.
        "RAY_worker_niceness": "0",
        "RAY_AUTH_MODE": "token",
    }
    if not settings.address:
        # Despite its name this is what keeps every Ray process on 127.0.0.1: with clusters enabled,
        # Ray replaces a loopback address by one that other machines reach.
        wanted["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        wanted["RAY_AUTH_TOKEN_PATH"] = str(_token_file(ray_directory(settings.home)))
    unset = {name: value for name, value in wanted.items() if name not in os.environ}
    # A call after `stop` must fail, and not start another Ray with Ray's own defaults.
    return unset | {"RAY_ENABLE_AUTO_CONNECT": "0"}


def _token_file(directory: Path) -> Path:
    """A random token that only this user can read; Ray's processes inherit its path."""
    file = directory / "auth_token"
    if not file.exists():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_hex(32))
    return file
