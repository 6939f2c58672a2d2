"""Calls between the gateway and the process that runs Ray: many at once over one socket.

A frame is a length and MessagePack (`parcel`), over a socket pair of the two. Every call has a
number: `(number, method, arguments)` one way, `(number, kind, value)` the other, where a call has
any number of items and one end. Both ends know by the method of which types the values are.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing
from enum import StrEnum, auto
from typing import Any

from assay_core.errors import AssayError, from_document, to_document
from assay_serving.parcel import opened, pack
from assay_serving.runtime import EngineUnreachableError

CANCEL = "cancel"
"""Method that ends the call of its number."""

STOP = "stop"
"""Method that ends Ray and the process."""

_LENGTH = struct.Struct("!Q")


class Kind(StrEnum):
    """What an answer is."""

    ITEM = auto()
    END = auto()
    REFUSED = auto()  # the document of an AssayError
    UNREACHABLE = auto()


async def read_frame(reader: asyncio.StreamReader) -> Any:
    """The next frame, a list of plain values; None once the other end has gone."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return opened(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def write_frame(writer: asyncio.StreamWriter, value: Any) -> None:
    """Send a frame, unless the other end has gone."""
    if not writer.is_closing():
        content = pack(value)
        writer.write(_LENGTH.pack(len(content)) + content)


class Link:
    """The gateway's end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count()
        self._calls: dict[int, asyncio.Queue[tuple[Kind, Any]]] = {}
        self.closed = False

    async def run(self) -> None:
        """Hand answers to their calls until the other end has gone; every open call fails then."""
        while (frame := await read_frame(self._reader)) is not None:
            number, kind, value = frame
            if number in self._calls:
                self._calls[number].put_nowait((Kind(kind), value))
        self.closed = True
        for answers in self._calls.values():
            answers.put_nowait((Kind.UNREACHABLE, "the process that runs Ray has ended"))
        self._writer.close()

    async def call(self, method: str, *arguments: Any) -> Any:
        """The one answer of a call; None if it has none.

        Raises:
            AssayError, EngineUnreachableError: What the other end raised.
        """
        async with aclosing(self.stream(method, *arguments)) as answers:
            return await anext(answers, None)

    async def stream(self, method: str, *arguments: Any) -> AsyncGenerator[Any, None]:
        """The answers of a call; ending the iteration cancels it.

        Raises:
            AssayError, EngineUnreachableError: What the other end raised.
        """
        if self.closed:
            raise EngineUnreachableError("the process that runs Ray has ended")
        number = next(self._numbers)
        answers = self._calls[number] = asyncio.Queue()
        kind = Kind.ITEM
        try:
            write_frame(self._writer, (number, method, arguments))
            await self._writer.drain()
            while True:
                kind, value = await answers.get()
                match kind:
                    case Kind.ITEM:
                        yield value
                    case Kind.END:
                        return
                    case Kind.REFUSED:
                        raise from_document(value)
                    case Kind.UNREACHABLE:
                        raise EngineUnreachableError(value)
        except ConnectionError:
            kind = Kind.UNREACHABLE
            raise EngineUnreachableError("the process that runs Ray has ended") from None
        finally:
            del self._calls[number]
            if kind is Kind.ITEM:
                write_frame(self._writer, (number, CANCEL, ()))


def failure(error: Exception) -> tuple[Kind, Any]:
    """How a failed call is answered."""
    if isinstance(error, AssayError):
        return Kind.REFUSED, to_document(error)
    if isinstance(error, EngineUnreachableError):
        return Kind.UNREACHABLE, str(error)
    return Kind.UNREACHABLE, type(error).__name__
