"""Spans of served RPCs, for who names an OpenTelemetry collector in `otlp_endpoint`.

The ids are those of `assay_core.context`, which every call carries anyway; here they only leave the
process. Spans hold names, codes and times, never content. Without the setting nothing is imported.
"""

from __future__ import annotations

from typing import Protocol

import grpc

from assay_core.context import CallContext
from assay_core.errors import FailedPrecondition
from assay_core.methods import Method
from assay_core.settings import ServiceSettings


class SpanExporter(Protocol):
    """Where spans go."""

    def record(
        self, call: CallContext, method: Method, code: grpc.StatusCode, seconds: float
    ) -> None:
        """Queues the span of a call that has just ended; never blocks."""

    def close(self) -> None:
        """Sends what is queued, for a few seconds at most. Blocks."""


def span_exporter_for(settings: ServiceSettings, service: str, version: str) -> SpanExporter | None:
    """The exporter that settings ask for; None where they name no collector.

    Raises:
        FailedPrecondition: If the OpenTelemetry packages are not installed.
    """
    if not settings.otlp_endpoint:
        return None
    try:
        from assay_core.otel import OtlpSpanExporter  # noqa: PLC0415 (an extra; slow to import)
    except ImportError as error:
        raise FailedPrecondition(
            "otlp_endpoint is set and OpenTelemetry is not installed",
            field="otlp_endpoint",
            reason="OTEL_MISSING",
            remedy="install assay-core[otel], or leave otlp_endpoint empty",
        ) from error
    return OtlpSpanExporter(service, version, settings.otlp_endpoint)
