"""Calls to the process that runs Ray: many at once, cancelled, refused, and cut off."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from assay_core.errors import DataLoss
from assay_serving.ray_link import CANCEL, Kind, Link, failure, read_frame, write_frame
from assay_serving.runtime import EngineUnreachableError


class OtherEnd:
    """Reads what is asked; answers what a test says."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def asked(self) -> list[Any]:
        async with asyncio.timeout(10):
            frame: list[Any] = await read_frame(self._reader)
        return frame

    def answer(self, number: int, kind: Kind, value: Any = None) -> None:
        write_frame(self.writer, (number, kind, value))


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Link, OtherEnd]]:
    left, right = socket.socketpair()
    link = Link(*await asyncio.open_unix_connection(sock=left))
    other = OtherEnd(*await asyncio.open_unix_connection(sock=right))
    reading = asyncio.create_task(link.run())
    yield link, other
    other.writer.close()
    await reading


async def collected(link: Link, *call: Any) -> list[Any]:
    return [value async for value in link.stream(*call)]


async def test_answers_find_their_calls_in_whatever_order_they_come(ends):
    link, other = ends
    first = asyncio.create_task(collected(link, "generate", "x"))
    a, *_ = await other.asked()
    second = asyncio.create_task(collected(link, "generate", "y"))
    b, method, arguments = await other.asked()
    assert (method, arguments) == ("generate", ["y"])
    for number, value in ((b, 1), (a, 2), (b, 3)):
        other.answer(number, Kind.ITEM, value)
    other.answer(b, Kind.END)
    other.answer(a, Kind.END)
    assert await second == [1, 3]
    assert await first == [2]


async def test_a_stream_that_is_left_early_is_cancelled_at_the_other_end(ends):
    link, other = ends

    async def leave() -> None:
        async with aclosing(link.stream("generate")) as answers:
            assert await anext(answers) == "one"

    leaving = asyncio.create_task(leave())
    number, *_ = await other.asked()
    other.answer(number, Kind.ITEM, "one")
    await leaving
    assert await other.asked() == [number, CANCEL, []]


async def test_a_refusal_comes_back_as_the_error_that_it_was(ends):
    link, other = ends
    calling = asyncio.create_task(link.call("deploy"))
    number, *_ = await other.asked()
    error = DataLoss("a file is damaged", reason="DAMAGED", remedy="copy it again")
    other.answer(number, *failure(error))
    with pytest.raises(DataLoss, match="damaged") as caught:
        await calling
    assert (caught.value.reason, caught.value.remedy) == ("DAMAGED", "copy it again")


async def test_when_the_other_end_goes_every_open_and_later_call_fails(ends):
    link, other = ends
    calls = [asyncio.create_task(link.call("status")) for _ in range(3)]
    for _ in calls:
        await other.asked()
    other.writer.close()
    for call in calls:
        with pytest.raises(EngineUnreachableError):
            await call
    assert link.closed
    with pytest.raises(EngineUnreachableError):
        await link.call("status")


def test_what_nobody_foresaw_is_told_by_its_type_only():
    assert failure(ValueError("with a prompt in it")) == (Kind.UNREACHABLE, "ValueError")
