"""`assay-serving`: the gateway process.

Ready within seconds: Ray and vLLM start with the first LoadModel. At SIGTERM it stops taking work,
lets generations in flight finish within `drain_seconds`, and ends Serve and Ray with all their
processes.
"""

from __future__ import annotations

import asyncio
import sys

import grpc

from assay_core.auth import authenticator_for
from assay_core.errors import AssayError
from assay_core.pb import serving_pb2, serving_pb2_grpc
from assay_core.resources import ResourceStore
from assay_core.server import serve
from assay_core.settings import load_settings
from assay_serving.endpoint_runtime import EndpointRuntime
from assay_serving.http.app import OpenAIDoor
from assay_serving.http.server import HttpServer
from assay_serving.models import ModelManager
from assay_serving.ray_process import RayProcess
from assay_serving.reconciler import Reconciler
from assay_serving.registry import FIELDS, ModelRegistry
from assay_serving.runtime import RaySettings
from assay_serving.servicer import ServingServicer
from assay_serving.settings import ServingSettings

SERVICE = serving_pb2.DESCRIPTOR.services_by_name["ServingService"].full_name


async def run(settings: ServingSettings) -> None:
    """Serve until SIGTERM or SIGINT; leaves no process behind."""
    runtime = RayProcess(ray_settings(settings), (settings.log_level, settings.log_format))
    registry = ModelRegistry(ResourceStore(settings.database_url, "models", fields=FIELDS))
    models = ModelManager(settings, runtime, EndpointRuntime(settings.endpoints), registry)

    def register(server: grpc.aio.Server) -> list[str]:
        serving_pb2_grpc.add_ServingServiceServicer_to_server(
            ServingServicer(models, registry), server
        )
        return [SERVICE]

    http = _http_server(settings, models) if settings.http_listen else None

    reconciling: list[asyncio.Task[None]] = []

    async def start() -> None:
        await registry.start()
        reconciling.append(asyncio.create_task(Reconciler(models, registry).run()))
        if http is not None:
            await http.start()

    async def drain() -> None:
        for task in reconciling:
            task.cancel()
        await models.drain()
        if http is not None:
            await http.stop()

    try:
        await serve(settings, "serving", register, on_start=start, on_drain=drain)
    finally:
        await registry.close()
        await asyncio.to_thread(runtime.stop)


def _http_server(settings: ServingSettings, models: ModelManager) -> HttpServer:
    """The OpenAI-compatible listener; like the gRPC one it needs tokens beyond loopback."""
    authenticator = authenticator_for(settings.model_copy(update={"listen": settings.http_listen}))
    return HttpServer(settings, OpenAIDoor(models, authenticator).application())


def ray_settings(settings: ServingSettings) -> RaySettings:
    """The part of the settings that Ray needs."""
    return RaySettings(
        home=settings.home,
        address=settings.ray_address,
        object_store_bytes=settings.object_store_mib * 2**20,
        threads=settings.threads,
        metrics_port=settings.engine_metrics_port,
    )


def main() -> int:
    """Entry point; returns the exit code."""
    try:
        settings = load_settings(ServingSettings, sys.argv[1:])
        asyncio.run(run(settings))
    except AssayError as error:
        sys.stderr.write(f"assay-serving: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
