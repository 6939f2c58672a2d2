"""The span exporter: OpenTelemetry's SDK, OTLP over gRPC. Imported only where it is asked for."""

from __future__ import annotations

import time
from typing import Any

import grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from assay_core.context import CallContext
from assay_core.methods import Method

_FLUSH_MILLISECONDS = 5000
# What makes a server span an error by OpenTelemetry's conventions for gRPC: not the caller's fault.
_SERVER_FAULTS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


class OtlpSpanExporter:
    """Batches spans and sends them from a thread of its own.

    A collector that is away costs spans, never calls.

    Args:
        service: Short name: `compression`.
        version: Version of the package.
        endpoint: `http://host:4317`, or `https://` for TLS.
    """

    def __init__(self, service: str, version: str, endpoint: str) -> None:
        self._processor: Any = BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint))
        self._resource = Resource.create(
            {"service.name": f"assay-{service}", "service.version": version}
        )
        self._scope = InstrumentationScope(__name__, version)

    def record(
        self, call: CallContext, method: Method, code: grpc.StatusCode, seconds: float
    ) -> None:
        """Queues the span of a call that has just ended; never blocks."""
        end = time.time_ns()
        failed = code in _SERVER_FAULTS
        self._processor.on_end(
            ReadableSpan(
                name=f"{method.service}/{method.name}",
                context=_context(call, call.span_id, remote=False),
                parent=_context(call, call.parent_span_id, remote=True),
                resource=self._resource,
                attributes={
                    "rpc.system": "grpc",
                    "rpc.service": method.service,
                    "rpc.method": method.name,
                    "rpc.grpc.status_code": code.value[0],
                    "assay.request_id": call.request_id,
                },
                kind=SpanKind.SERVER,
                instrumentation_scope=self._scope,
                status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
                start_time=end - round(seconds * 1e9),
                end_time=end,
            )
        )

    def close(self) -> None:
        """Sends what is queued, for a few seconds at most. Blocks."""
        self._processor.force_flush(_FLUSH_MILLISECONDS)
        self._processor.shutdown()


def _context(call: CallContext, span_id: str, *, remote: bool) -> Any:
    """OpenTelemetry's form of a span's identity; None for the parent of a root."""
    if not span_id:
        return None
    flags = TraceFlags(int(call.trace_flags, 16))
    trace, span = int(call.trace_id, 16), int(span_id, 16)
    return SpanContext(trace, span, is_remote=remote, trace_flags=flags)
