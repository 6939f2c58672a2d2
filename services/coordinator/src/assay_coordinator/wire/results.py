"""Comparisons, gates and progress as messages."""

from __future__ import annotations

from typing import Any

from google.protobuf import duration_pb2
from pydantic import ValidationError

from assay_coordinator.domain.comparison import (
    Comparison,
    GateCheck,
    GateResult,
    VariantGate,
)
from assay_coordinator.domain.policy import (
    Claim,
    GatePolicy,
    OnIncomplete,
)
from assay_coordinator.domain.progress import (
    Counts,
    EvaluationStatus,
    MeasuredServing,
    Progress,
    ScenarioFacts,
    ScoreFacts,
    VariantStatus,
)
from assay_coordinator.statistics.decision import Verdict
from assay_core.errors import from_document, to_proto
from assay_core.field_errors import invalid_argument
from assay_core.pb import common_pb2, comparison_pb2, coordination_pb2, evaluation_pb2

_VERDICTS = {
    None: comparison_pb2.VERDICT_UNSPECIFIED,
    Verdict.PASS: comparison_pb2.VERDICT_PASS,
    Verdict.FAIL: comparison_pb2.VERDICT_FAIL,
    Verdict.INCONCLUSIVE: comparison_pb2.VERDICT_INCONCLUSIVE,
}
_CLAIMS = {
    comparison_pb2.CLAIM_UNSPECIFIED: Claim.ARTIFACT,
    comparison_pb2.CLAIM_ARTIFACT: Claim.ARTIFACT,
    comparison_pb2.CLAIM_RECIPE: Claim.RECIPE,
}
_CLAIM_VALUES = {
    Claim.ARTIFACT: comparison_pb2.CLAIM_ARTIFACT,
    Claim.RECIPE: comparison_pb2.CLAIM_RECIPE,
}
_ON_INCOMPLETE = {
    OnIncomplete.INCONCLUSIVE: comparison_pb2.ON_INCOMPLETE_INCONCLUSIVE,
    OnIncomplete.FAIL: comparison_pb2.ON_INCOMPLETE_FAIL,
    OnIncomplete.WARN: comparison_pb2.ON_INCOMPLETE_WARN,
}
# Fields of the domain type that the message does not have.
_INTERNAL = {"verdict", "equivalence", "claim", "degenerate", "standard_error", "notes"}


def comparison_message(comparison: Comparison) -> comparison_pb2.Comparison:
    """A comparison; a degenerate output is its first note."""
    plain = comparison.model_dump(exclude=_INTERNAL, exclude_none=True)
    notes = list(comparison.notes)
    if comparison.degenerate:
        notes.insert(0, f"degenerate output: {comparison.degenerate}")
    return comparison_pb2.Comparison(
        **plain,
        verdict=_VERDICTS[comparison.verdict],
        equivalence=_VERDICTS[comparison.equivalence],
        claim=_CLAIM_VALUES[comparison.claim],
        notes=notes,
    )


def verdict_value(verdict: Verdict | None) -> comparison_pb2.Verdict.ValueType:
    """The contract's value of a verdict."""
    return _VERDICTS[verdict]


def gate_message(result: GateResult) -> comparison_pb2.GateResult:
    """What the gate says."""
    return comparison_pb2.GateResult(
        verdict=_VERDICTS[result.verdict],
        headline=result.headline,
        variants=[
            comparison_pb2.VariantGateResult(
                variant_key=variant.variant_key,
                verdict=_VERDICTS[variant.verdict],
                reasons=variant.reasons,
                checks=[
                    comparison_pb2.GateCheck(
                        name=check.name,
                        verdict=_VERDICTS[check.verdict],
                        detail=check.detail,
                        warning=check.warning,
                    )
                    for check in variant.checks
                ],
            )
            for variant in result.variants
        ],
    )


def gate_from_message(message: comparison_pb2.GateResult) -> GateResult:
    """Inverse of `gate_message`, apart from what only headlines need."""
    verdicts = {value: verdict for verdict, value in _VERDICTS.items() if verdict is not None}
    return GateResult(
        verdict=verdicts[message.verdict],
        headline=message.headline,
        variants=tuple(
            VariantGate(
                variant_key=variant.variant_key,
                verdict=verdicts[variant.verdict],
                reasons=tuple(variant.reasons),
                checks=tuple(
                    GateCheck(
                        name=check.name,
                        verdict=verdicts[check.verdict],
                        detail=check.detail,
                        warning=check.warning,
                    )
                    for check in variant.checks
                ),
            )
            for variant in message.variants
        ),
    )


def policy_from_message(message: comparison_pb2.GatePolicy, field: str = "policy") -> GatePolicy:
    """A policy; zeros mean the documented defaults.

    Raises:
        InvalidArgument: Names the field at fault, below `field`.
    """
    defaults = GatePolicy()
    asks = message.require_utility if message.HasField("require_utility") else True
    composite = {"weights": dict(message.composite.weights), "margin": message.composite.margin}
    document = {
        "rules": [_rule(rule) for rule in message.rules],
        "default_margin": message.default_margin or defaults.default_margin,
        "max_unparsable_shift": message.max_unparsable_shift or defaults.max_unparsable_shift,
        "require_utility": asks,
        "claim": _CLAIMS[message.claim],
        "on_incomplete": _on_incomplete(message),
        "required_seeds": message.required_seeds,
        "composite": composite if message.HasField("composite") else None,
    }
    try:
        return GatePolicy.model_validate(document)
    except ValidationError as error:
        raise invalid_argument(error, field, GatePolicy, reason="INVALID_POLICY") from None


def policy_message(policy: GatePolicy) -> comparison_pb2.GatePolicy:
    """Inverse of `policy_from_message`."""
    rules = [comparison_pb2.GateRule(**rule.model_dump(exclude_none=True)) for rule in policy.rules]
    claim = _CLAIM_VALUES[policy.claim]
    plain = policy.model_dump(exclude={"rules", "claim", "on_incomplete"}, exclude_none=True)
    return comparison_pb2.GatePolicy(
        rules=rules, claim=claim, on_incomplete=_ON_INCOMPLETE[policy.on_incomplete], **plain
    )


def _on_incomplete(message: comparison_pb2.GatePolicy) -> OnIncomplete:
    for choice, value in _ON_INCOMPLETE.items():
        if message.on_incomplete == value:
            return choice
    return OnIncomplete.FAIL if message.fail_on_incomplete else OnIncomplete.INCONCLUSIVE


def _rule(message: comparison_pb2.GateRule) -> dict[str, Any]:
    shift = message.HasField("max_refusal_shift")
    return {
        "dimension": message.dimension,
        "scenario": message.scenario,
        "metric": message.metric,
        "margin": message.margin,
        "floor": message.floor if message.HasField("floor") else None,
        "max_refusal_shift": message.max_refusal_shift if shift else None,
    }


def progress_message(progress: Progress) -> common_pb2.Progress:
    """How far a piece of work is."""
    message = common_pb2.Progress(
        completed=progress.completed,
        total=progress.total,
        unit=progress.unit,
        phase=progress.phase,
    )
    if progress.eta_seconds is not None:
        eta = duration_pb2.Duration()
        eta.FromNanoseconds(round(progress.eta_seconds * 1e9))
        message.eta.CopyFrom(eta)
    return message


def error_message(document: dict[str, Any] | None) -> common_pb2.Error | None:
    """A stored error."""
    return None if document is None else to_proto(from_document(document))


def state_value(name: str) -> Any:
    """STATE_RUNNING of `RUNNING`."""
    return common_pb2.State.Value(f"STATE_{name}")


def variant_message(
    variant: VariantStatus,
    evaluations: list[EvaluationStatus],
    main_parser: str,
    *,
    scenarios: bool,
) -> coordination_pb2.StudyVariant:
    """A variant with its evaluations."""
    return coordination_pb2.StudyVariant(
        key=variant.key,
        model=variant.model_uri,
        label=variant.label,
        calibration_seed=variant.calibration_seed,
        variant_id=variant.variant_id,
        artifact_digest=variant.artifact.digest if variant.artifact else "",
        state=state_value(variant.state),
        error=error_message(variant.error),
        phase=variant.phase,
        compression=progress_message(variant.compression),
        measured=_measured_message(variant.measured) if variant.measured else None,
        evaluations=[_evaluation_message(e, main_parser, scenarios) for e in evaluations],
    )


def _measured_message(measured: MeasuredServing) -> coordination_pb2.MeasuredServing:
    message = coordination_pb2.MeasuredServing(
        tokens_per_second=measured.tokens_per_second,
        memory_bytes=measured.memory_bytes,
        **measured.load.model_dump(),
    )
    message.ttft_p50.FromNanoseconds(round(1e9 * measured.ttft_p50_seconds))
    message.ttft_p95.FromNanoseconds(round(1e9 * measured.ttft_p95_seconds))
    return message


def _evaluation_message(
    evaluation: EvaluationStatus, main_parser: str, scenarios: bool
) -> coordination_pb2.StudyEvaluation:
    score = evaluation.score(main_parser)
    return coordination_pb2.StudyEvaluation(
        dimension=evaluation.dimension,
        evaluation_id=evaluation.evaluation_id,
        state=state_value(evaluation.state),
        progress=progress_message(evaluation.progress),
        score=_score_message(score, scenarios) if score else None,
        error=error_message(evaluation.error),
        completions_reused=evaluation.completions_reused,
    )


def _score_message(score: ScoreFacts, scenarios: bool) -> evaluation_pb2.Score:
    """A score without its formula, and without what would fill a message of a large study."""
    return evaluation_pb2.Score(
        metric=score.metric,
        parser_version=score.parser_version,
        value=score.value,
        partial_value=score.partial_value,
        paper_rounded_value=score.paper_rounded_value,
        refusal_rate=score.refusal_rate,
        refusal_rule=score.refusal_rule,
        counts=_counts_message(score.counts),
        scenarios=[_scenario_message(part) for part in score.scenarios if scenarios],
        complete=score.complete,
        missing=score.missing,
        verdicts_uri=score.verdicts_uri,
        verdicts_digest=score.verdicts_digest,
        score_uri=score.score_uri,
    )


def _scenario_message(part: ScenarioFacts) -> evaluation_pb2.ScenarioScore:
    return evaluation_pb2.ScenarioScore(
        scenario=part.scenario,
        value=part.value,
        interval_low=part.interval_low,
        interval_high=part.interval_high,
        counts=_counts_message(part.counts),
    )


def _counts_message(counts: Counts) -> evaluation_pb2.VerdictCounts:
    return evaluation_pb2.VerdictCounts(**counts.model_dump())
