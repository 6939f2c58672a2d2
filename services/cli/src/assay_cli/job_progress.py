"""Progress of one job (a compression, a model load): a bar, or throttled lines."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from assay_cli import words
from assay_cli.app import Session
from assay_cli.watch import watch
from assay_core.errors import Internal
from assay_core.pb import common_pb2

ResponseT = TypeVar("ResponseT")

_PLAIN_INTERVAL_SECONDS = 10.0


async def follow_job(
    name: str,
    open_stream: Callable[[], AsyncIterator[ResponseT]],
    meta: Callable[[ResponseT], common_pb2.ResourceMeta],
    session: Session,
) -> ResponseT:
    """Watches a job to its end with progress and returns the last response.

    Args:
        name: What is shown in front of the progress.
        open_stream: Starts the job's watch.
        meta: Where a response keeps state and progress.
        session: For output and patience.

    Raises:
        AssayError: What the server answered.
    """
    responses = watch(
        open_stream,
        lambda response: meta(response).state in words.TERMINAL,
        patience=session.settings.patience_seconds,
        output=session.output,
    )
    show = _bar if session.output.live else _lines
    return await show(name, responses, meta, session)


async def _bar(
    name: str,
    responses: AsyncIterator[ResponseT],
    meta: Callable[[ResponseT], common_pb2.ResourceMeta],
    session: Session,
) -> ResponseT:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[phase]}"),
        TimeElapsedColumn(),
    )
    last: ResponseT | None = None
    with Progress(*columns, console=session.output.err, transient=True) as bars:
        task = bars.add_task(name, total=None, phase="")
        async for response in responses:
            last = response
            progress = meta(response).progress
            bars.update(
                task,
                total=progress.total or None,
                completed=progress.completed,
                phase=progress.phase or words.state(meta(response).state),
            )
    return _ended(last)


async def _lines(
    name: str,
    responses: AsyncIterator[ResponseT],
    meta: Callable[[ResponseT], common_pb2.ResourceMeta],
    session: Session,
) -> ResponseT:
    last: ResponseT | None = None
    said, said_at = "", 0.0
    async for response in responses:
        last = response
        now, progress = time.monotonic(), meta(response).progress
        phase = f"{name}: {progress.phase or words.state(meta(response).state)}"
        if phase != said or now - said_at > _PLAIN_INTERVAL_SECONDS:
            count = f" {progress.completed:,} of {progress.total:,} {progress.unit}"
            session.output.note(phase + (count if progress.total else ""))
            said, said_at = phase, now
    return _ended(last)


def _ended(last: ResponseT | None) -> ResponseT:
    if last is None:
        raise Internal("the watch ended without an answer")  # `watch` does not allow it.
    return last
