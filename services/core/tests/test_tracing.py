"""Traces: a real collector's service receives a span per call, in the caller's trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from assay_core.client import call, channel
from assay_core.errors import AssayError
from assay_core.pb import compression_pb2, compression_pb2_grpc
from assay_core.server import Register, running
from assay_core.settings import ServiceSettings

SECRET_TEXT = "nobody may read this"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """OTLP's trace service, keeping what arrives."""

    def __init__(self) -> None:
        self.requests: list[trace_service_pb2.ExportTraceServiceRequest] = []
        self.endpoint = ""

    async def Export(self, request, context):
        self.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    server, service = grpc.aio.server(), Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    service.endpoint = f"http://127.0.0.1:{port}"
    await server.start()
    yield service
    await server.stop(0)


@pytest.fixture
def traced(settings: ServiceSettings, collector: Collector) -> ServiceSettings:
    return settings.model_copy(update={"otlp_endpoint": collector.endpoint})


async def ask(address: str, variant: str, *, peer: str = "") -> None:
    async with channel(address) as to:
        stub = compression_pb2_grpc.CompressionServiceStub(to)
        metadata = (("x-test-peer", peer),) if peer else ()
        await stub.GetVariant(
            compression_pb2.GetVariantRequest(id=variant), metadata=metadata, timeout=20
        )


async def test_a_call_on_behalf_of_another_is_its_child(
    traced: ServiceSettings, register: Register, collector: Collector
) -> None:
    async with (
        running(traced, "inner", register) as inner,
        running(traced, "outer", register) as outer,
    ):
        await ask(outer.address, "peer", peer=inner.address)
    parent, child = sorted(collector.spans, key=lambda span: span.start_time_unix_nano)
    assert child.trace_id == parent.trace_id
    assert child.parent_span_id == parent.span_id
    assert child.span_id != parent.span_id
    assert parent.name == "assay.compression.v1.CompressionService/GetVariant"
    assert parent.start_time_unix_nano <= child.start_time_unix_nano
    assert child.end_time_unix_nano <= parent.end_time_unix_nano
    names = {
        attribute.value.string_value
        for request in collector.requests
        for resource in request.resource_spans
        for attribute in resource.resource.attributes
        if attribute.key == "service.name"
    }
    assert names == {"assay-inner", "assay-outer"}


async def test_only_the_servers_own_fault_is_an_error_and_no_span_holds_content(
    traced: ServiceSettings, register: Register, collector: Collector
) -> None:
    async with running(traced, "core", register) as server:
        for variant in ("missing", f"bug {SECRET_TEXT}"):
            async with channel(server.address) as to:
                stub = compression_pb2_grpc.CompressionServiceStub(to)
                with pytest.raises(AssayError):
                    await call(stub.GetVariant, compression_pb2.GetVariantRequest(id=variant))
    by_code = {
        attribute.value.int_value: span.status.code
        for span in collector.spans
        for attribute in span.attributes
        if attribute.key == "rpc.grpc.status_code"
    }
    assert by_code == {
        grpc.StatusCode.NOT_FOUND.value[0]: Status.STATUS_CODE_UNSET,
        grpc.StatusCode.INTERNAL.value[0]: Status.STATUS_CODE_ERROR,
    }
    assert SECRET_TEXT not in str(collector.requests)


async def test_a_collector_that_is_away_costs_no_call(
    settings: ServiceSettings, register: Register
) -> None:
    nowhere = settings.model_copy(update={"otlp_endpoint": "http://127.0.0.1:9"})
    async with asyncio.timeout(30), running(nowhere, "core", register) as server:
        await ask(server.address, "a")
