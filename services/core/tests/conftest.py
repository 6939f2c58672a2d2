"""A real service of the shell: a servicer that does on demand what servicers do."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import grpc
import hypothesis
import pytest

# Helpers beside this file; tests are imported by path and have no package.
sys.path.insert(0, str(Path(__file__).parent))

from object_servers import S3, gcs_server, s3_server
from resource_drafts import FIELDS, Ticks

from assay_core.auth import current_principal
from assay_core.client import call, channel
from assay_core.context import current_context
from assay_core.errors import InvalidArgument, NotFound, ResourceExhausted
from assay_core.pb import (
    compression_pb2,
    compression_pb2_grpc,
    serving_pb2,
    serving_pb2_grpc,
)
from assay_core.resources import ResourceStore
from assay_core.server import Register
from assay_core.settings import ServiceSettings

# A busy machine makes any example slow now and then; time is not what these tests are about.
hypothesis.settings.register_profile(
    "assay", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("assay")


def request_peer(context: grpc.aio.ServicerContext) -> str:
    return dict(context.invocation_metadata())["x-test-peer"]


class Compression(compression_pb2_grpc.CompressionServiceServicer):
    """`GetVariant(id)` ends as the id says; `WatchVariant` never ends by itself."""

    async def GetVariant(self, request, context):
        match request.id:
            case "missing":
                raise NotFound("variant missing does not exist", resource="variant/missing")
            case "busy":
                raise ResourceExhausted("the queue is full", field="queue", retry_after=2.5)
            case secret if secret.startswith("bug"):
                raise KeyError(secret)
            case "abort":
                await context.abort(grpc.StatusCode.OUT_OF_RANGE, "past the end")
            case "peer":
                async with channel(request_peer(context)) as to:
                    stub = compression_pb2_grpc.CompressionServiceStub(to)
                    return await call(stub.GetVariant, compression_pb2.GetVariantRequest(id="a"))
            case "slow":
                await asyncio.sleep(0.5)
            case "forever":
                await asyncio.sleep(60)
        meta = {"id": request.id, "project": current_principal().name}
        trace = current_context()
        return compression_pb2.GetVariantResponse(
            variant={"meta": meta, "label": trace.trace_id if trace else ""}
        )

    async def WatchVariant(self, request, context):
        yield compression_pb2.WatchVariantResponse(variant={"label": "first"})
        if request.id.startswith("bug"):
            raise KeyError(request.id)
        await asyncio.sleep(60)

    async def CreateVariant(self, request, context):
        return compression_pb2.CreateVariantResponse()

    async def DeleteVariant(self, request, context):
        return compression_pb2.DeleteVariantResponse()


class Serving(serving_pb2_grpc.ServingServiceServicer):
    """`Generate` answers each message by one with the same number of results."""

    async def Generate(
        self, request_iterator: AsyncIterator[serving_pb2.GenerateRequest], context
    ) -> AsyncIterator[serving_pb2.GenerateResponse]:
        async for request in request_iterator:
            if request.lease_id == "refuse":
                raise InvalidArgument.of("lease_id", "is refused")
            yield serving_pb2.GenerateResponse()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture(scope="session")
def gcs() -> Iterator[str]:
    with gcs_server() as url:
        yield url


@pytest.fixture
def register() -> Register:
    """Registers both servicers, as a service's wiring does."""

    def add(server: grpc.aio.Server) -> Sequence[str]:
        compression_pb2_grpc.add_CompressionServiceServicer_to_server(Compression(), server)
        serving_pb2_grpc.add_ServingServiceServicer_to_server(Serving(), server)
        return (
            compression_pb2.DESCRIPTOR.services_by_name["CompressionService"].full_name,
            serving_pb2.DESCRIPTOR.services_by_name["ServingService"].full_name,
        )

    return add


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    return ServiceSettings(listen="127.0.0.1:0", home=tmp_path, drain_seconds=2)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The server that a variable names, or one that is started here; skips where there is none."""
    if url := os.environ.get("ASSAY_TEST_POSTGRES_URL"):
        yield url
        return
    sys.path.append(str(Path(__file__).parents[2] / "coordinator" / "tests"))
    import postgres

    with postgres.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/db/test.sqlite"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def table() -> str:
    return f"t{uuid.uuid4().hex[:12]}s"


@pytest.fixture
async def store(url: str, table: str) -> AsyncIterator[ResourceStore]:
    store = ResourceStore(url, table, fields=FIELDS, poll_seconds=0.2, clock=Ticks())
    yield store
    await store.close()
