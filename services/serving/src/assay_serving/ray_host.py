"""The process that runs Ray for the gateway: its end is an answer, not the gateway's end.

Ray's client ends the process that it is in when its raylet or its GCS has died (`_Exit` in C++,
which Python cannot catch). Here it ends this process, and whoever waits for an answer is told. The
processes below go with it: Ray's own by its parent death signal, the engines' by `engine/fate.py`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import aclosing
from typing import Any

from assay_core.errors import AssayError
from assay_core.logs import configure_logging, exception_facts, get_logger
from assay_serving.domain import EngineSpec
from assay_serving.parcel import typed
from assay_serving.ray_link import CANCEL, STOP, Kind, failure, read_frame, write_frame
from assay_serving.ray_runtime import RayRuntime
from assay_serving.runtime import EngineUnreachableError, RaySettings

_LOG = get_logger("assay.serving.rayhost")


class Host:
    """Answers the calls of one gateway."""

    def __init__(self, runtime: RayRuntime, writer: asyncio.StreamWriter) -> None:
        self._runtime = runtime
        self._writer = writer
        self._handles: dict[str, Any] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def serve(self, reader: asyncio.StreamReader) -> bool:
        """Until the gateway asks for the end; False if it has gone without a word."""
        while (frame := await read_frame(reader)) is not None:
            number, method, arguments = frame
            if method == STOP:
                return True
            if method == CANCEL:
                if number in self._tasks:
                    self._tasks[number].cancel()
                continue
            self._answering(number, asyncio.create_task(self._answer(number, method, arguments)))
        return False

    def _answering(self, number: int, task: asyncio.Task[None]) -> None:
        self._tasks[number] = task
        # Not in the task: one that is cancelled before its first step runs nothing.
        task.add_done_callback(lambda _: self._tasks.pop(number))

    async def _answer(self, number: int, method: str, arguments: Any) -> None:
        kind, value = Kind.END, None
        try:
            match method:
                case "generate":
                    await self._generate(number, *arguments)
                case _:
                    answer = await getattr(self, f"_{method}")(*arguments)
                    write_frame(self._writer, (number, Kind.ITEM, answer))
        except Exception as error:  # noqa: BLE001 - the border of this process: every call is answered
            if not isinstance(error, AssayError | EngineUnreachableError):
                _LOG.error("rayhost_call_failed", method=method, **exception_facts(error))
            kind, value = failure(error)
        write_frame(self._writer, (number, kind, value))

    async def _generate(self, number: int, engine_id: str, batch: bytes, digest: str) -> None:
        answers = self._runtime.generate(self._handle(engine_id), batch, digest)
        async with aclosing(answers):
            async for results in answers:
                write_frame(self._writer, (number, Kind.ITEM, results))
                await self._writer.drain()

    async def _deploy(self, engine_id: str, spec: Any, path: str, digest: str) -> None:
        if await asyncio.to_thread(self._runtime.ensure_started):
            leave_signals()
        self._handles.pop(engine_id, None)
        handle = await asyncio.to_thread(
            self._runtime.deploy, engine_id, typed(spec, EngineSpec), path, digest
        )
        self._handles[engine_id] = handle

    async def _statuses(self, engine_id: str) -> Any:
        return await asyncio.to_thread(self._runtime.statuses, self._handle(engine_id))

    async def _count_tokens(self, engine_id: str, batch: bytes) -> Any:
        return await self._runtime.count_tokens(self._handle(engine_id), batch)

    async def _memory(self, engine_id: str) -> int:
        return await self._runtime.memory(self._handle(engine_id))

    async def _delete(self, engine_id: str) -> None:
        self._handles.pop(engine_id, None)
        await asyncio.to_thread(self._runtime.delete, engine_id)

    def _handle(self, engine_id: str) -> Any:
        if engine_id not in self._handles:
            raise EngineUnreachableError("the engine ended with its Ray")
        return self._handles[engine_id]


def leave_signals() -> None:
    """Leave SIGTERM and SIGINT to the gateway, which ends this process when it is done.

    Ray's crash handler takes SIGTERM when it starts, so this is called after that, too.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


async def run(descriptor: int) -> None:
    """Serve the gateway at the other end of a socket."""
    connection = socket.socket(fileno=descriptor)
    reader, writer = await asyncio.open_unix_connection(sock=connection)
    settings, logs = await read_frame(reader)
    configure_logging("serving", *logs)
    leave_signals()
    runtime = RayRuntime(RaySettings.of(settings))
    if await Host(runtime, writer).serve(reader):
        await asyncio.to_thread(runtime.stop)
        # Threads may still wait for answers of what has ended.
        os._exit(0)
    runtime.abandon()


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1])))
