"""Where the services are, and stubs that talk to them."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import grpc

from assay_cli.settings import CliSettings
from assay_cli.supervisor.stack import EVALUATOR_PREFIX
from assay_cli.supervisor.state import RunFolder, StackState
from assay_core.client import channel
from assay_core.errors import NotFound, Unavailable
from assay_core.settings import is_loopback, split_address

StubT = TypeVar("StubT")

_USUAL = {
    "coordinator": "127.0.0.1:7400",
    "compression": "127.0.0.1:7401",
    "serving": "127.0.0.1:7402",
}


class Endpoints:
    """Addresses: flag or variable first, then the local stack of this home, then usual ports."""

    def __init__(self, settings: CliSettings) -> None:
        self._settings = settings

    def address(self, service: str) -> str:
        """Address of `coordinator`, `compression` or `serving`."""
        given = {
            "coordinator": self._settings.server,
            "compression": self._settings.compression,
            "serving": self._settings.serving,
        }[service]
        stack = self._stack()
        return given or (stack.address(service) if stack else None) or _USUAL[service]

    def evaluator(self, dimension: str) -> str:
        """Address of the evaluator of a dimension.

        Raises:
            NotFound: If nothing says where it is.
        """
        stack = self._stack()
        address = self._settings.evaluators.get(dimension)
        address = address or (stack.address(EVALUATOR_PREFIX + dimension) if stack else None)
        if address is None:
            raise NotFound(
                f"nothing says where the evaluator of {dimension} is",
                field="evaluators",
                reason="EVALUATOR_UNKNOWN",
                remedy="run `assay up`, or set ASSAY_CLI_EVALUATORS",
            )
        return address

    def any_evaluator(self) -> str:
        """Address of some evaluator, for what all of them serve.

        Raises:
            NotFound: If nothing says where one is.
        """
        stack = self._stack()
        local = [each.name for each in stack.services] if stack else []
        names = (name.removeprefix(EVALUATOR_PREFIX) for name in local if EVALUATOR_PREFIX in name)
        return self.evaluator(next(iter((*self._settings.evaluators, *names)), "any dimension"))

    def _stack(self) -> StackState | None:
        return RunFolder(self._settings.home).read()


@asynccontextmanager
async def connected(
    address: str, stub: Callable[[grpc.aio.Channel], StubT], settings: CliSettings
) -> AsyncIterator[StubT]:
    """A stub on a channel to `address`.

    Raises:
        Unavailable: At once if it is a local address where nothing listens.
    """
    refuse_dead_local(address)
    async with channel(address, settings) as open_channel:
        yield stub(open_channel)


def refuse_dead_local(address: str) -> None:
    """Spares the user gRPC's retries where a refused connection is certain.

    Raises:
        Unavailable: If nothing listens at a loopback address.
    """
    try:
        local = is_loopback(address)
    except ValueError:  # A gRPC name such as dns:///host:port.
        return
    if not local:
        return
    try:
        socket.create_connection(split_address(address), timeout=1.0).close()
    except OSError:
        raise Unavailable(
            f"nothing listens at {address}",
            reason="NOT_UP",
            remedy="start the local services with `assay up`, or name a server with --server",
        ) from None
