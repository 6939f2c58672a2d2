"""The gRPC shell that every service runs in.

    asyncio.run(serve(settings, "compression", register))

`register` adds the servicers to the server and returns their full names. The shell gives them
health, reflection, auth, validation, error mapping, metrics, logs and an orderly end.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from assay_core import metrics
from assay_core.auth import authenticator_for
from assay_core.errors import FailedPrecondition
from assay_core.interceptor import ShellInterceptor
from assay_core.limits import MAX_MESSAGE_BYTES
from assay_core.logs import configure_logging, get_logger
from assay_core.methods import CallGate
from assay_core.settings import ServiceSettings, join_address, split_address
from assay_core.tls import server_credentials
from assay_core.tracing import span_exporter_for

Register = Callable[[grpc.aio.Server], Sequence[str]]
Hook = Callable[[], Awaitable[None]]

_LOG = get_logger("assay.server")
_aio_health = cast(Any, health).aio  # The stubs do not know the aio servicer.
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Server:
    """One service's servers: gRPC, metrics, and the optional plaintext health port.

    Args:
        settings: Addresses, auth, reflection, drain time.
        service_name: Short name for logs and metrics: `compression`.
        register: Adds servicers to the gRPC server and returns their full names.

    Raises:
        FailedPrecondition: If the settings would expose the server without authentication.
    """

    def __init__(self, settings: ServiceSettings, service_name: str, register: Register) -> None:
        self._settings = settings
        self._name = service_name
        self._gate = CallGate()
        self._health: Any = _aio_health.HealthServicer()
        self._spans = span_exporter_for(settings, service_name, package_version())
        interceptor = ShellInterceptor(authenticator_for(settings), self._gate, self._spans)
        self._grpc = grpc.aio.server(interceptors=[interceptor], options=_options(settings))
        self._services = tuple(register(self._grpc))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        if settings.reflection:
            names = (*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._grpc)
        self._probe: grpc.aio.Server | None = None
        self._metrics: metrics.MetricsServer | None = None
        self.port = 0
        self.probe_port = 0
        self.metrics_port = 0

    @property
    def address(self) -> str:
        """Where clients reach the server, with the port that was bound."""
        return join_address(split_address(self._settings.listen)[0], self.port)

    async def start(self, on_start: Hook | None = None) -> None:
        """Binds every port, runs `on_start`, then answers SERVING.

        Until `on_start` returns, health answers NOT_SERVING and other calls wait.

        Raises:
            FailedPrecondition: If an address is taken; names the setting.
        """
        await self._set_health(_NOT_SERVING)
        self.port = _bind(
            self._grpc, self._settings.listen, "listen", server_credentials(self._settings)
        )
        if self._settings.health_listen is not None:
            self._probe = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._probe)
            self.probe_port = _bind(self._probe, self._settings.health_listen, "health_listen")
            await self._probe.start()
        if (address := self._settings.metrics_address) is not None:
            self._metrics = metrics.MetricsServer.start(address)
            self.metrics_port = self._metrics.port
        await self._grpc.start()
        if on_start is not None:
            await on_start()
        self._gate.open()
        await self._set_health(_SERVING)
        metrics.SERVER_INFO.labels(self._name, package_version()).set(1)
        _LOG.info("serving", address=self.address, metrics_port=self.metrics_port)

    async def drain(self, on_drain: Hook | None = None) -> None:
        """Stops in order: NOT_SERVING, watch streams end, `on_drain`, grace, stop.

        `on_drain` finishes or hands back work; it and the calls in flight have `drain_seconds`.
        """
        _LOG.info("draining", seconds=self._settings.drain_seconds)
        loop = asyncio.get_running_loop()
        end = loop.time() + self._settings.drain_seconds
        metrics.SERVER_READY.labels(self._name).set(0)
        await self._health.enter_graceful_shutdown()
        self._gate.close()
        if on_drain is not None:
            try:
                async with asyncio.timeout_at(end):
                    await on_drain()
            except TimeoutError:
                _LOG.warning("drain_hook_timed_out")
        await self._grpc.stop(max(0.0, end - loop.time()))
        await self.close()

    async def close(self) -> None:
        """Stops at once and frees every port."""
        await self._grpc.stop(0)
        if self._probe is not None:
            await self._probe.stop(0)
        if self._metrics is not None:
            await asyncio.to_thread(self._metrics.stop)
            self._metrics = None
        if self._spans is not None:
            await asyncio.to_thread(self._spans.close)
            self._spans = None

    async def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in ("", *self._services):
            await self._health.set(name, status)
        metrics.SERVER_READY.labels(self._name).set(int(status == _SERVING))


@asynccontextmanager
async def running(
    settings: ServiceSettings,
    service_name: str,
    register: Register,
    *,
    on_start: Hook | None = None,
    on_drain: Hook | None = None,
) -> AsyncIterator[Server]:
    """A served service as a context: drained at the end. For embedding and for tests."""
    server = Server(settings, service_name, register)
    try:
        await server.start(on_start)
        yield server
        await server.drain(on_drain)
    finally:
        await server.close()


async def serve(
    settings: ServiceSettings,
    service_name: str,
    register: Register,
    *,
    on_start: Hook | None = None,
    on_drain: Hook | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then drains.

    Args:
        settings: The service's settings.
        service_name: Short name for logs and metrics.
        register: Adds servicers to the gRPC server and returns their full names.
        on_start: Runs with the ports bound, health NOT_SERVING and calls held (recovery of work).
        on_drain: Runs after NOT_SERVING (finish or hand back work), within `drain_seconds`.

    Raises:
        FailedPrecondition: If an address is taken or authentication is missing.
    """
    configure_logging(service_name, settings.log_level, settings.log_format)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with running(settings, service_name, register, on_start=on_start, on_drain=on_drain):
        await stopping.wait()
    _LOG.info("stopped")


def package_version() -> str:
    """Version of the installed core package."""
    try:
        return version("assay-core")
    except PackageNotFoundError:
        return "unknown"


def _options(settings: ServiceSettings) -> list[tuple[str, int]]:
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        # Two servers on one port would silently share its connections.
        ("grpc.so_reuseport", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
    if settings.max_connection_age_seconds is not None:
        age = round(settings.max_connection_age_seconds * 1000)
        grace = settings.max_connection_age_grace_seconds
        grace = settings.drain_seconds if grace is None else grace
        options += [
            ("grpc.max_connection_age_ms", age),
            ("grpc.max_connection_age_grace_ms", round(grace * 1000)),
        ]
    return options


def _bind(
    server: grpc.aio.Server,
    address: str,
    setting: str,
    credentials: grpc.ServerCredentials | None = None,
) -> int:
    try:
        if credentials is not None:
            return server.add_secure_port(address, credentials)
        return server.add_insecure_port(address)
    except RuntimeError as error:
        raise FailedPrecondition(
            f"cannot listen on {address}",
            field=setting,
            reason="ADDRESS_IN_USE",
            remedy=f"stop what listens there, or set {setting} to another address",
        ) from error
