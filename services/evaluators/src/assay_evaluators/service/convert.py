"""Protobuf to domain values and back; nothing behind the servicer sees a message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from google.protobuf import struct_pb2

from assay_core.aggregation import dump_expr
from assay_core.pb import evaluation_pb2 as pb
from assay_core.pb import serving_pb2
from assay_core.resources import Record, meta_of
from assay_evaluators.sdk.dimension import Dimension
from assay_evaluators.sdk.plan import Plan
from assay_evaluators.sdk.replaying import Pair
from assay_evaluators.sdk.spec import Engine, Replay, Spec, Subject
from assay_evaluators.service.examples import Page

_OPTIONAL_VALUES = {
    "value": "score",
    "partial_value": "partial_score",
    "paper_rounded_value": "paper_rounded_score",
}


def to_spec(message: pb.EvaluationSpec, pack_digest: str) -> Spec:
    """The request's specification with the digest of the pack that was opened for it."""
    engine = message.subject.engine
    return Spec(
        dimension=message.dimension,
        pack_uri=message.pack.uri,
        pack_digest=pack_digest,
        subject=Subject(
            artifact_digest=message.subject.artifact_digest,
            engine=Engine(
                family=engine.family,
                version=engine.version,
                dtype=engine.dtype,
                kv_cache_dtype=engine.kv_cache_dtype,
                max_model_len=engine.max_model_len,
                device_class=engine.device_class,
            ),
            tokenizer_digest=message.subject.tokenizer_digest,
            chat_template_digest=message.subject.chat_template_digest,
        ),
        prompt_profile=_profile(message.prompt_profile),
        paper_template=message.paper_template,
        sampling_profile=_profile(message.sampling_profile),
        seed=message.seed,
        row_limit=message.row_limit,
        scenarios=tuple(message.scenarios),
        replay=_replay(message.replay) if message.HasField("replay") else None,
    )


def from_spec(spec: Spec) -> pb.EvaluationSpec:
    """The specification as it travels."""
    message = pb.EvaluationSpec(
        dimension=spec.dimension,
        pack=pb.PackRef(uri=spec.pack_uri, digest=spec.pack_digest),
        prompt_profile=spec.prompt_profile,
        paper_template=spec.paper_template,
        sampling_profile=spec.sampling_profile,
        seed=spec.seed,
        row_limit=spec.row_limit,
        scenarios=spec.scenarios,
        subject=pb.Subject(
            artifact_digest=spec.subject.artifact_digest,
            tokenizer_digest=spec.subject.tokenizer_digest,
            chat_template_digest=spec.subject.chat_template_digest,
        ),
    )
    if spec.replay is not None:
        message.replay.CopyFrom(pb.Replay(**spec.replay.model_dump()))
    for name, value in spec.subject.engine.model_dump().items():
        setattr(message.subject.engine, name, value)
    return message


def from_record(record: Record, *, details: bool = True) -> pb.Evaluation:
    """An evaluation; without `details` for lists, where sub-values would be too long."""
    status = record.status
    return pb.Evaluation(
        meta=meta_of(record),
        spec=from_spec(Spec.model_validate(record.spec["evaluation"])),
        parser_versions=record.spec["parser_versions"],
        pack_digest=record.spec["evaluation"]["pack_digest"],
        scores=[from_score(score, details=details) for score in status.get("scores", ())],
        complete=status.get("complete", False),
        generations=[pb.GenerationRecord(**entry) for entry in status.get("generations", ())],
    )


def from_score(stored: Mapping[str, Any], *, details: bool = True) -> pb.Score:
    """A stored score: its document and where it lies."""
    document = stored["document"]
    score = pb.Score(
        metric=document["metric"],
        parser_version=document["parser_version"],
        refusal_rate=document["refusal_rate"],
        refusal_rule=document["refusal_rule"],
        counts=pb.VerdictCounts(**document["counts"]),
        complete=document["complete"],
        missing=document["missing"],
        verdicts_uri=stored["verdicts_uri"],
        verdicts_digest=document["verdicts"]["digest"],
        score_uri=stored["score_uri"],
        scenarios=[_scenario(entry, details=details) for entry in document["scenarios"]],
    )
    for field, key in _OPTIONAL_VALUES.items():
        if document[key] is not None:
            setattr(score, field, document[key])
    if details:
        score.formula.CopyFrom(to_struct(document["formula"]))
    return score


def from_plan(plan: Plan, missing: Mapping[str, int]) -> pb.PlanEvaluationResponse:
    """A plan with what is stored of it."""
    scenarios = []
    for scenario in plan.scenarios:
        lacking = missing[scenario.name]
        scenarios.append(
            pb.ScenarioPlan(
                scenario=scenario.name,
                samples=len(scenario.samples),
                samples_expected=scenario.expected,
                completions_per_sample=scenario.sampling.n,
                completions_stored=scenario.completions - lacking,
                completions_missing=lacking,
                prompt_tokens=scenario.prompt_tokens,
                completion_tokens=lacking * scenario.sampling.max_tokens,
                missing_reason=scenario.gap,
                generation_digest=scenario.generation_digest,
            )
        )
    total = sum(missing.values())
    return pb.PlanEvaluationResponse(
        scenarios=scenarios,
        completions_missing=total,
        completions_stored=plan.completions - total,
        pack_digest=plan.spec.pack_digest,
        complete=plan.is_complete,
    )


def from_dimension(dimension: Dimension) -> pb.DescribeDimensionResponse:
    """What a dimension is."""
    metric, parser = dimension.default_metric, dimension.parsers[0]
    return pb.DescribeDimensionResponse(
        dimension=dimension.name,
        summary=dimension.summary,
        data_sets=[
            pb.DataSetDescription(name=d.name, licence=d.licence, reference=d.reference)
            for d in dimension.data_sets
        ],
        metrics=[
            pb.MetricDescription(id=m.id, summary=m.summary, reference=m.reference)
            for m in dimension.metrics
        ],
        parsers=[
            pb.ParserDescription(version=p.version, summary=p.summary) for p in dimension.parsers
        ],
        scenarios=dimension.scenarios,
        formula=to_struct(dump_expr(metric.formula(parser.version))),
    )


def to_struct(document: Mapping[str, Any]) -> struct_pb2.Struct:
    """A JSON object as a protobuf Struct."""
    struct = struct_pb2.Struct()
    struct.update(dict(document))
    return struct


def _scenario(entry: Mapping[str, Any], *, details: bool) -> pb.ScenarioScore:
    message = pb.ScenarioScore(
        scenario=entry["scenario"],
        counts=pb.VerdictCounts(**entry["counts"]),
        sub_values=entry["sub_values"] if details else {},
    )
    if entry["score"] is not None:
        message.value = entry["score"]
    if entry["interval"] is not None:
        message.interval_low, message.interval_high = entry["interval"]
    return message


def _replay(message: pb.Replay) -> Replay:
    """The load asked for; what is 0 takes the default of the contract."""
    return Replay(
        run=message.run,
        arrival_rate=message.arrival_rate,
        concurrency=message.concurrency or 8,
        max_tokens=message.max_tokens or 128,
        temperature=message.temperature,
    )


def from_pairs(pairs: Sequence[Pair]) -> pb.PairReplaysResponse:
    """Pairs as they travel."""
    return pb.PairReplaysResponse(
        pairs=[
            pb.ReplayPair(
                sample_id=pair.sample_id,
                cluster_id=pair.cluster_id,
                same=pair.same,
                similarity=pair.similarity,
                variant=pb.ReplayedPrompt(**asdict(pair.variant)),
                reference=pb.ReplayedPrompt(**asdict(pair.reference)),
            )
            for pair in pairs
        ]
    )


def _profile(text: str) -> Any:
    """Empty means `standard`; the contract's rules allow nothing but the two names."""
    return text or "standard"


def from_examples(page: Page) -> pb.ListExamplesResponse:
    """A page of examples as it travels."""
    return pb.ListExamplesResponse(
        examples=[
            pb.Example(
                scenario=example.sample.scenario,
                sample_id=example.sample.id,
                completion_index=example.completion.completion_index,
                messages=[
                    serving_pb2.ChatMessage(role=message.role, content=message.content)
                    for message in example.sample.messages
                ],
                prompt=example.sample.text or "",
                text=example.completion.text,
                verdict=str(example.verdict),
                value=example.value,
            )
            for example in page.examples
        ],
        next_page_token=page.next_token,
    )
