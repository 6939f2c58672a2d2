"""Watching long work across restarts of its server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from assay_cli.output import Output
from assay_core.errors import Unavailable

ResponseT = TypeVar("ResponseT")

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 5.0


async def watch(
    open_stream: Callable[[], AsyncIterator[ResponseT]],
    ended: Callable[[ResponseT], bool],
    *,
    patience: float,
    output: Output,
) -> AsyncIterator[ResponseT]:
    """Yields what a Watch method streams until a terminal state, through server restarts.

    The first attempt must connect; after that a server that went away is waited for. That is safe
    because a watch changes nothing and starts with the resource as it is.

    Args:
        open_stream: Starts the stream anew.
        ended: Whether a response is the last one.
        patience: Seconds without any answer before giving up.
        output: Told about waiting.

    Raises:
        AssayError: What the server answered, or Unavailable after `patience` seconds.
    """
    loop = asyncio.get_running_loop()
    connected = False
    pause = _FIRST_PAUSE_SECONDS
    last_answer = loop.time()
    while True:
        try:
            async for response in open_stream():
                connected, pause, last_answer = True, _FIRST_PAUSE_SECONDS, loop.time()
                yield response
                if ended(response):
                    return
        except Unavailable:
            if not connected or loop.time() - last_answer > patience:
                raise
            if pause == _FIRST_PAUSE_SECONDS:
                output.note("the server went away; the work is durable, waiting for its return")
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
