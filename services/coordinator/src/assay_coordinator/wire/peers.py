"""What peers answer, as domain types; and what they are asked."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from google.protobuf.json_format import MessageToDict

from assay_coordinator.domain.canary import CanarySpec
from assay_coordinator.domain.progress import (
    ArtifactFacts,
    Counts,
    EngineFacts,
    Histogram,
    LayerFact,
    MeasuredServing,
    Progress,
    ScenarioFacts,
    ScoreFacts,
    ServingLoad,
)
from assay_coordinator.domain.study import ModelSpec, StudySpec
from assay_core.errors import AssayError, Internal, from_proto
from assay_core.pb import common_pb2, compression_pb2, evaluation_pb2, serving_pb2


def state_name(state: common_pb2.State.ValueType) -> str:
    """`RUNNING` of STATE_RUNNING."""
    return common_pb2.State.Name(state).removeprefix("STATE_")


def progress(message: common_pb2.Progress) -> Progress:
    """How far a peer's work is."""
    has_eta = message.HasField("eta")
    return Progress(
        completed=message.completed,
        total=message.total,
        unit=message.unit,
        phase=message.phase,
        eta_seconds=message.eta.ToNanoseconds() / 1e9 if has_eta else None,
    )


def failure(meta: common_pb2.ResourceMeta, what: str) -> AssayError:
    """The error that a failed resource carries."""
    if meta.HasField("error"):
        return from_proto(meta.error)
    return Internal(
        f"{what} ended {state_name(meta.state)} without saying why",
        reason="PEER_FAILED_SILENTLY",
        metadata={"id": meta.id},
    )


def model_ref(model: ModelSpec) -> common_pb2.ModelRef:
    """A checkpoint as compression is asked for it."""
    return common_pb2.ModelRef(
        uri=model.uri,
        revision=model.revision,
        digest=model.digest,
        trust_remote_code=model.trust_remote_code,
    )


def artifact(variant: compression_pb2.Variant) -> ArtifactFacts:
    """What the coordinator keeps of a finished variant."""
    made = variant.artifact
    return ArtifactFacts(
        uri=made.uri,
        digest=made.digest,
        parent_digest=made.parent_digest,
        architecture=made.architecture,
        bytes=made.bytes,
        packed_bytes=made.efficiency.packed_bytes,
        parameters=made.parameters,
        bits_per_weight=made.bits_per_weight,
        sparsity=made.sparsity,
        tokenizer_digest=made.tokenizer_digest,
        chat_template_digest=made.chat_template_digest,
        backend=made.run.backend,
        wall_seconds=made.run.wall_time.ToNanoseconds() / 1e9,
        peak_memory_bytes=made.run.peak_memory_bytes,
        device=made.run.device,
        flops_per_token=made.efficiency.flops_per_token,
        decode_bytes_per_token=made.efficiency.decode_bytes_per_token,
        cache_hit=variant.cache_hit,
        layers=_layers(made.modules),
        histogram=_histogram(made.modules),
    )


def _layers(
    modules: Sequence[compression_pb2.ModuleStatistics],
) -> tuple[LayerFact, ...]:
    """Module statistics as means over each transformer layer; the dense parent has none."""
    by_layer: dict[int, list[compression_pb2.ModuleStatistics]] = {}
    for module in modules:
        if module.layer >= 0:
            by_layer.setdefault(module.layer, []).append(module)
    facts = []
    for layer, members in sorted(by_layer.items()):
        outputs = [m.output_error for m in members if m.HasField("output_error")]
        facts.append(
            LayerFact(
                layer=layer,
                relative_error=fmean(m.relative_error for m in members),
                output_error=fmean(outputs) if outputs else None,
            )
        )
    return tuple(facts) if any(fact.relative_error for fact in facts) else ()


def _histogram(modules: Sequence[compression_pb2.ModuleStatistics]) -> Histogram | None:
    """The histogram of the module that changed most."""
    counted = [m for m in modules if m.histogram_before and m.relative_error]
    if not counted:
        return None
    worst = max(counted, key=lambda m: m.relative_error)
    return Histogram(
        module=worst.name,
        edges=tuple(worst.histogram_edges),
        before=tuple(worst.histogram_before),
        after=tuple(worst.histogram_after),
    )


def describe_request(
    project: str, *, artifact_uri: str = "", endpoint: str = ""
) -> serving_pb2.DescribeEngineRequest:
    """The question what would serve an artifact, or an external endpoint."""
    return serving_pb2.DescribeEngineRequest(
        project=project, artifact_uri=artifact_uri, endpoint=endpoint
    )


def endpoint_artifact(
    model: ModelSpec, response: serving_pb2.DescribeEngineResponse
) -> ArtifactFacts:
    """What stands for an endpoint's weights: its name, and the digest of what it is known by."""
    return ArtifactFacts(uri=model.uri, digest=response.artifact_digest)


def engine(response: serving_pb2.DescribeEngineResponse) -> EngineFacts:
    """Engine and precision that would serve an artifact."""
    described = response.engine
    return EngineFacts(
        family=described.family,
        version=described.version,
        dtype=described.dtype,
        kv_cache_dtype=described.kv_cache_dtype,
        max_model_len=described.max_model_len,
        device_class=described.device_class,
        tokenizer_digest=response.tokenizer_digest,
        chat_template_digest=response.chat_template_digest,
    )


def measured(response: serving_pb2.ProfileModelResponse, load: ServingLoad) -> MeasuredServing:
    """What serving measured."""
    return MeasuredServing(
        ttft_p50_seconds=response.ttft_p50.ToNanoseconds() / 1e9,
        ttft_p95_seconds=response.ttft_p95.ToNanoseconds() / 1e9,
        tokens_per_second=response.tokens_per_second,
        memory_bytes=response.memory_bytes,
        load=load,
    )


def evaluation_spec(
    study: StudySpec, dimension: str, artifact_digest: str, facts: EngineFacts
) -> evaluation_pb2.EvaluationSpec:
    """What an evaluator is asked to evaluate."""
    identity = facts.model_dump(exclude={"tokenizer_digest", "chat_template_digest"})
    return evaluation_pb2.EvaluationSpec(
        dimension=dimension,
        pack=evaluation_pb2.PackRef(uri=study.pack.uri, digest=study.pack.digest),
        subject=evaluation_pb2.Subject(
            artifact_digest=artifact_digest,
            engine=serving_pb2.EngineIdentity(**identity),
            tokenizer_digest=facts.tokenizer_digest,
            chat_template_digest=facts.chat_template_digest,
        ),
        prompt_profile=study.prompt_profile,
        paper_template=study.paper_template,
        sampling_profile=study.sampling_profile,
        seed=study.seed,
        row_limit=study.row_limit,
    )


def replay(canary: CanarySpec, run: str) -> evaluation_pb2.Replay:
    """The load of a canary; `run` names one side of it."""
    return evaluation_pb2.Replay(run=run, **canary.load.model_dump())


def score(message: evaluation_pb2.Score) -> ScoreFacts:
    """A score as its evaluator published it."""
    return ScoreFacts(
        metric=message.metric,
        parser_version=message.parser_version,
        value=_optional(message, "value"),
        partial_value=_optional(message, "partial_value"),
        paper_rounded_value=_optional(message, "paper_rounded_value"),
        refusal_rate=message.refusal_rate,
        refusal_rule=message.refusal_rule,
        counts=_counts(message.counts),
        scenarios=tuple(_scenario(part) for part in message.scenarios),
        complete=message.complete,
        missing=tuple(message.missing),
        verdicts_uri=message.verdicts_uri,
        verdicts_digest=message.verdicts_digest,
        score_uri=message.score_uri,
        formula=MessageToDict(message.formula) if message.HasField("formula") else {},
    )


def _scenario(message: evaluation_pb2.ScenarioScore) -> ScenarioFacts:
    return ScenarioFacts(
        scenario=message.scenario,
        value=_optional(message, "value"),
        interval_low=_optional(message, "interval_low"),
        interval_high=_optional(message, "interval_high"),
        counts=_counts(message.counts),
        sub_values=dict(message.sub_values),
    )


def _counts(message: evaluation_pb2.VerdictCounts) -> Counts:
    return Counts(
        n=message.n,
        n_expected=message.n_expected,
        answered=message.answered,
        refused=message.refused,
        unparsable=message.unparsable,
        overlength=message.overlength,
    )


def _optional(message: Any, field: str) -> float | None:
    return getattr(message, field) if message.HasField(field) else None
