"""The listener of the HTTP door, in the gateway's own event loop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette

from assay_core.errors import FailedPrecondition
from assay_core.logs import get_logger
from assay_core.settings import split_address
from assay_core.tls import Renewals
from assay_serving.settings import ServingSettings

_LOG = get_logger("assay.serving.http")


class HttpServer:
    """Serves an application from `start` to `stop`."""

    def __init__(self, settings: ServingSettings, application: Starlette) -> None:
        self._address = settings.http_listen
        host, port = split_address(settings.http_listen)
        self._server: Any = uvicorn.Server(
            uvicorn.Config(
                application,
                host=host,
                port=port,
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=round(settings.drain_seconds),
                **_tls(settings),
            )
        )
        # The shell of the service handles signals.
        self._server.capture_signals = nullcontext
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bind and serve.

        Raises:
            FailedPrecondition: The address cannot be bound.
        """
        self._task = asyncio.create_task(self._serve(), name="assay-http")
        while not self._server.started:
            if self._task.done():
                await self._task
            await asyncio.sleep(0.02)
        _LOG.info("serving_http", address=self._address)

    async def stop(self) -> None:
        """Stop listening; requests in flight may finish within the drain time."""
        if self._task is not None:
            self._server.should_exit = True
            await asyncio.gather(self._task, return_exceptions=True)

    async def _serve(self) -> None:
        # uvicorn ends the process when it cannot bind.
        try:
            await self._server.serve()
        except SystemExit:
            raise FailedPrecondition(
                f"cannot listen on {self._address}",
                field="http_listen",
                reason="ADDRESS_IN_USE",
                remedy="stop what listens there, or set http_listen to another address",
            ) from None


def _tls(settings: ServingSettings) -> dict[str, Any]:
    """The gRPC listener's certificate, and its demand for one of the client."""
    if settings.tls_cert_file is None:
        return {}
    authority = settings.tls_client_ca_file
    return {
        "ssl_certfile": settings.tls_cert_file,
        "ssl_keyfile": settings.tls_key_file,
        "ssl_ca_certs": None if authority is None else str(authority),
        "ssl_cert_reqs": ssl.CERT_NONE if authority is None else ssl.CERT_REQUIRED,
        "ssl_context_factory": _renewing,
    }


def _renewing(config: uvicorn.Config, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """A context whose files are read again at the first handshake after they were replaced."""
    files = (config.ssl_certfile, config.ssl_keyfile, config.ssl_ca_certs)
    renewals = Renewals(tuple(Path(file) for file in files if file is not None))
    first = current = make()

    def at_handshake(connection: ssl.SSLObject, _name: str | None, _context: Any) -> None:
        nonlocal current
        if renewals.seen():
            # In the middle of a renewal the old files serve until the new ones are whole.
            with suppress(OSError):
                current = make()
        connection.context = current

    # OpenSSL calls it for clients that name no server, too.
    first.sni_callback = at_handshake
    return first
