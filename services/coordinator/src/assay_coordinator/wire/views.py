"""A study with everything that is known of it, as a message."""

from __future__ import annotations

import time
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from assay_coordinator.domain.extension import level_after
from assay_coordinator.domain.progress import EvaluationStatus, Progress, total_progress
from assay_coordinator.leaderboard import Entry
from assay_coordinator.planning import StudyPlan
from assay_coordinator.store import StudyRecord
from assay_coordinator.studies import View
from assay_coordinator.wire.results import gate_message, progress_message, variant_message
from assay_coordinator.wire.study import spec_message
from assay_core.errors import to_proto
from assay_core.pb import common_pb2, coordination_pb2

CHUNK_BYTES = 1 << 20


def study_message(view: View, *, scenarios: bool = True) -> coordination_pb2.Study:
    """A study with its variants and evaluations; a watch leaves the scenarios out."""
    record = view.record
    by_variant: dict[str, list[EvaluationStatus]] = {}
    for evaluation in view.evaluations:
        by_variant.setdefault(evaluation.variant_key, []).append(evaluation)
    order = {dimension: index for index, dimension in enumerate(record.spec.dimensions)}
    message = record_message(record, progress_of(view))
    for variant in view.variants:
        mine = sorted(by_variant.get(variant.key, []), key=lambda e: order[e.dimension])
        message.variants.append(
            variant_message(variant, mine, record.spec.main_parser, scenarios=scenarios)
        )
    return message


def record_message(record: StudyRecord, progress: Progress) -> coordination_pb2.Study:
    """A study without its variants, as lists show it."""
    status = record.status
    message = coordination_pb2.Study(
        meta=meta_message(record, progress), spec=spec_message(record.spec)
    )
    if status.gate is not None:
        message.gate_result.CopyFrom(gate_message(status.gate))
    html = next((file for file in status.report if file.format == "html"), None)
    if html is not None:
        message.report_uri = html.uri
    if status.started_at is not None:
        message.start_time.CopyFrom(moment_of(status.started_at))
    if status.ended_at is not None:
        message.end_time.CopyFrom(moment_of(status.ended_at))
    if status.extension is not None:
        level = level_after(status.extension.doublings)
        message.extension.CopyFrom(
            coordination_pb2.StudyExtension(**status.extension.model_dump(), confidence_level=level)
        )
    return message


def meta_message(record: StudyRecord, progress: Progress) -> common_pb2.ResourceMeta:
    """What every resource has."""
    return common_pb2.ResourceMeta(
        id=record.id,
        project=record.project,
        request_id=record.request_id,
        state=record.state.to_proto(),
        progress=progress_message(progress),
        error=to_proto(record.error) if record.error else None,
        create_time=_moment(record.create_time),
        update_time=_moment(record.update_time),
    )


def progress_of(view: View) -> Progress:
    """How far a study is over all its evaluations."""
    record = view.record
    started, ended = record.status.started_at, record.status.ended_at
    elapsed = None if started is None or ended is not None else time.time() - started
    progress = total_progress(
        len(view.variants),
        len(record.spec.dimensions),
        view.evaluations,
        elapsed_seconds=elapsed,
    )
    busy = next((v for v in view.variants if v.state in ("RUNNING", "WAITING_FOR_MODEL")), None)
    if busy is None or record.state.is_terminal:
        return progress
    evaluating = [
        v for v in view.variants if v.phase.startswith(("evaluating", "loading", "scoring"))
    ]
    shown = evaluating[0] if evaluating else busy
    return progress.model_copy(update={"phase": f"{shown.label}: {shown.phase}"})


def plan_message(plan: StudyPlan, tokens_per_second: float) -> coordination_pb2.PlanStudyResponse:
    """What a study would do, and its engine time at a given throughput."""
    tokens = sum(dimension.completion_tokens for dimension in plan.dimensions)
    response = coordination_pb2.PlanStudyResponse(
        variants=[
            coordination_pb2.PlannedVariant(
                key=variant.key, label=variant.label, artifact_exists=exists
            )
            for variant, exists in plan.variants
        ],
        completions=sum(dimension.completions for dimension in plan.dimensions),
        completion_tokens=tokens,
        completions_stored=sum(dimension.completions_stored for dimension in plan.dimensions),
        samples=sum(
            part.samples
            for dimension in plan.dimensions
            if dimension.example is not None
            for part in dimension.example.scenarios
        ),
        prompt_tokens=sum(dimension.prompt_tokens for dimension in plan.dimensions),
        engine_seconds=tokens / tokens_per_second,
        tokens_per_second=tokens_per_second,
        disk_bytes=plan.disk_bytes,
        missing=[problem for dimension in plan.dimensions for problem in dimension.missing],
    )
    for dimension in plan.dimensions:
        example = dimension.example
        response.dimensions.append(
            coordination_pb2.PlannedDimension(
                dimension=dimension.dimension,
                scenarios=example.scenarios if example is not None else (),
                complete=example.complete if example is not None else False,
                problem=dimension.problem,
            )
        )
    return response


def leaderboard_message(entry: Entry) -> coordination_pb2.LeaderboardEntry:
    """A line of the leaderboard."""
    terms = entry.terms
    return coordination_pb2.LeaderboardEntry(
        rank=entry.rank,
        model=entry.model,
        label=entry.label,
        artifact_digest=entry.artifact_digest,
        scores=entry.scores,
        study_ids=entry.study_ids,
        value=entry.value,
        pack_digest=terms.pack_digest,
        prompt_profile=terms.prompt_profile,
        sampling_profile=terms.sampling_profile,
        parser_version=terms.parser_version,
        row_limit=terms.row_limit,
        packed_bytes=entry.packed_bytes,
    )


def _moment(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def moment_of(value: float) -> Timestamp:
    """Seconds since 1970 as a timestamp."""
    stamp = Timestamp()
    stamp.FromNanoseconds(round(value * 1e9))
    return stamp
