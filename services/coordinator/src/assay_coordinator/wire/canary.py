"""Canaries as messages, and back."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from pydantic import ValidationError

from assay_coordinator.canaries import Asked
from assay_coordinator.domain.canary import (
    CanaryLimits,
    CanarySpec,
    Load,
    Measure,
    Side,
    SideFacts,
)
from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.domain.progress import Progress
from assay_coordinator.store import StudyRecord
from assay_coordinator.studies import View
from assay_coordinator.wire.results import comparison_message, gate_message, verdict_value
from assay_coordinator.wire.views import meta_message, moment_of, progress_of
from assay_core.errors import InvalidArgument
from assay_core.field_errors import invalid_argument
from assay_core.pb import coordination_pb2 as pb


def asked_from_message(request: pb.CreateCanaryRequest) -> Asked:
    """What a caller asks for, with defaults filled in.

    Raises:
        InvalidArgument: Names the field at fault.
    """
    spec = request.spec
    concurrency = spec.concurrency or request.concurrency
    names = {
        "variant": spec.variant or request.artifact_digest,
        "reference": spec.reference or request.reference_digest,
        "prompts_uri": spec.prompts_uri or request.prompts_uri,
    }
    for field, value in names.items():
        if not value:
            raise InvalidArgument.of(f"spec.{field}", "is empty", remedy="say what to replay")
    if spec.arrival_rate and concurrency:
        raise InvalidArgument.of(
            "spec.concurrency",
            "does not go with spec.arrival_rate",
            remedy="give one of them: requests in flight, or requests per second",
        )
    try:
        load = Load(
            arrival_rate=spec.arrival_rate,
            concurrency=concurrency or 8,
            max_tokens=spec.max_tokens or 128,
            temperature=spec.temperature,
        )
        limits = CanaryLimits(**{field.name: value for field, value in spec.gate.ListFields()})
    except ValidationError as error:
        raise invalid_argument(error, "spec") from None
    return Asked(**names, load=load, limits=limits, seed=spec.seed, row_limit=spec.row_limit)


def canary_message(view: View, comparisons: list[Comparison]) -> pb.Canary:
    """A canary with everything that is known of it."""
    message = record_canary_message(view.record, progress_of(view))
    digests = {v.key: v.artifact.digest for v in view.variants if v.artifact is not None}
    spec = _canary(view.record)
    message.artifact_digest = digests.get(spec.variant.key, "")
    message.reference_digest = digests.get(spec.against.key, "")
    for side in (message.variant, message.reference):
        if side.key:
            side.artifact_digest = digests.get(side.key, "")
    message.comparisons.extend(comparison_message(each) for each in comparisons)
    return message


def record_canary_message(record: StudyRecord, progress: Progress) -> pb.Canary:
    """A canary as lists show it."""
    spec, status = _canary(record), record.status
    message = pb.Canary(
        meta=meta_message(record, progress),
        prompts_uri=spec.pack.uri,
        spec=_spec_message(spec),
        headline=status.headline,
    )
    if status.canary is not None:
        message.variant.CopyFrom(_side_message(status.canary.variant))
        message.reference.CopyFrom(_side_message(status.canary.reference))
        message.measures.extend(_measure_message(each) for each in status.canary.measures)
    if status.gate is not None:
        message.gate_result.CopyFrom(gate_message(status.gate))
    message.report_uri = next((f.uri for f in status.report if f.format == "html"), "")
    if status.started_at is not None:
        message.start_time.CopyFrom(moment_of(status.started_at))
    if status.ended_at is not None:
        message.end_time.CopyFrom(moment_of(status.ended_at))
    return message


def _canary(record: StudyRecord) -> CanarySpec:
    if not isinstance(record.spec, CanarySpec):
        raise TypeError(f"{record.id} is no canary")
    return record.spec


def _spec_message(spec: CanarySpec) -> pb.CanarySpec:
    load = spec.load
    return pb.CanarySpec(
        variant=_name(spec.variant),
        reference=_name(spec.against),
        prompts_uri=spec.pack.uri,
        arrival_rate=load.arrival_rate,
        concurrency=0 if load.arrival_rate else load.concurrency,
        max_tokens=load.max_tokens,
        temperature=load.temperature,
        seed=spec.seed,
        row_limit=spec.row_limit,
        gate=pb.CanaryGate(**spec.limits.model_dump(exclude_none=True)),
    )


def _name(side: Side) -> str:
    return side.variant_id or side.model.uri


def _side_message(side: SideFacts) -> pb.CanarySide:
    plain = side.model_dump(
        exclude={"latency_p50", "latency_p95", "latency_p99", "wall_seconds"}, exclude_none=True
    )
    return pb.CanarySide(
        **plain,
        latency_p50=_duration(side.latency_p50),
        latency_p95=_duration(side.latency_p95),
        latency_p99=_duration(side.latency_p99),
        wall_time=_duration(side.wall_seconds),
    )


def _measure_message(measure: Measure) -> pb.CanaryMeasure:
    return pb.CanaryMeasure(
        name=measure.name,
        value=measure.value,
        interval_low=measure.low,
        interval_high=measure.high,
        confidence_level=measure.level,
        method=measure.method,
        n_pairs=measure.n_pairs,
        verdict=verdict_value(measure.verdict),
        limit=measure.limit,
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
