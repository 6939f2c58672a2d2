"""From what a study knows to what its report shows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from assay_coordinator.domain.canary import CanaryFacts, CanarySpec
from assay_coordinator.domain.comparison import Comparison, GateResult
from assay_coordinator.domain.flips import FlipGroup
from assay_coordinator.domain.progress import EvaluationStatus, ScoreFacts, VariantStatus
from assay_coordinator.domain.study import StudySpec
from assay_coordinator.report.findings import findings_of, surely_fell
from assay_coordinator.report.model import (
    Fact,
    NotRun,
    ReportData,
    ReportScenario,
    ReportScore,
    ReportVariant,
)
from assay_coordinator.report.published import beside_published
from assay_core.errors import from_document

DEMO_PACK = "demo"


@dataclass(frozen=True)
class Facts:
    """Everything a report is made of."""

    study_id: str
    spec: StudySpec
    state: str
    variants: tuple[VariantStatus, ...]
    evaluations: tuple[EvaluationStatus, ...]
    comparisons: tuple[Comparison, ...]
    gate: GateResult | None
    headline: str
    generated_at: float
    version: str = ""
    flips: tuple[FlipGroup, ...] = ()
    canary: CanaryFacts | None = None


def assemble(facts: Facts) -> ReportData:
    """The report's data, in the order in which it is shown."""
    spec = facts.spec
    position = {variant.key: variant.position for variant in facts.variants}
    # A comparison of a recipe stands after those of its seeds.
    position |= {variant.recipe_key: variant.position for variant in facts.variants}
    order = {dimension: index for index, dimension in enumerate(spec.dimensions)}
    evaluations = sorted(
        facts.evaluations, key=lambda e: (position[e.variant_key], order[e.dimension])
    )
    comparisons = sorted(
        facts.comparisons,
        key=lambda c: (position[c.variant_key], order[c.dimension], c.scenario, c.parser_version),
    )
    variants = tuple(_variant(variant) for variant in facts.variants)
    return ReportData(
        study_id=facts.study_id,
        study_name=spec.name,
        state=facts.state,
        generated_at=datetime.fromtimestamp(facts.generated_at, UTC),
        headline=facts.headline,
        demo=is_demo_pack(spec.pack.uri),
        gate=facts.gate,
        dimensions=spec.dimensions,
        parser_version=spec.main_parser,
        variants=variants,
        scores=tuple(
            _score(evaluation, score) for evaluation in evaluations for score in evaluation.scores
        ),
        comparisons=tuple(comparisons),
        published=beside_published(variants, comparisons),
        findings=findings_of(variants, comparisons, spec.main_parser),
        flips=tuple(
            sorted(facts.flips, key=lambda g: (position[g.variant_key], order[g.dimension]))
        ),
        canary=facts.canary,
        not_run=tuple(_not_run(facts, evaluations)),
        estimand=_estimand(spec),
        provenance=tuple(_provenance(facts, evaluations)),
        notes=(
            "Pruned models are served dense with zeros; no speed-up is claimed that was not "
            "measured.",
        ),
    )


def is_demo_pack(uri: str) -> bool:
    """Whether the pack is the built-in one, by name or by its folder."""
    return uri.rstrip("/").rsplit("/", 1)[-1] == DEMO_PACK


def plain_headline(comparisons: Sequence[Comparison], spec: StudySpec) -> str:
    """The answer in one sentence where the study has no gate: the largest sure fall."""
    main = [
        c
        for c in comparisons
        if not c.scenario and c.parser_version == spec.main_parser and c.difference is not None
    ]
    if not main:
        return "Nothing was compared."
    fallen = [c for c in main if surely_fell(c)]
    variants = len({c.variant_key for c in main})
    against = _against(main, spec)
    if not fallen:
        who = "The variant does not fall" if variants == 1 else f"None of {variants} variants falls"
        return f"{who} surely against {against} in {_listed(spec.dimensions)}."
    worst = min(fallen, key=lambda c: c.difference or 0.0)
    lost = len({c.variant_key for c in fallen})
    name = worst.variant_key.removesuffix("/seed0")
    fall = "falls" if lost == 1 else "fall"
    return (
        f"{lost} of {variants} variants surely {fall} against {against}; most {name}: "
        f"{worst.dimension} {worst.difference:+.1f} "
        f"[{worst.interval_low:+.1f}, {worst.interval_high:+.1f}]."
    )


def _against(comparisons: Sequence[Comparison], spec: StudySpec) -> str:
    if spec.has_one_reference:
        return comparisons[0].reference_key.removesuffix("/seed0")
    return "the dense parent"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _variant(variant: VariantStatus) -> ReportVariant:
    artifact = variant.artifact
    return ReportVariant(
        key=variant.key,
        model=variant.model_name,
        label=variant.label,
        method=variant.method,
        calibration_seed=variant.calibration_seed,
        state=variant.state,
        error=from_document(variant.error).text if variant.error else "",
        artifact_digest=artifact.digest if artifact else "",
        bits_per_weight=(artifact.bits_per_weight or None) if artifact else None,
        sparsity=(artifact.sparsity or None) if artifact else None,
        packed_bytes=(artifact.packed_bytes or None) if artifact else None,
        flops_per_token=(artifact.flops_per_token or None) if artifact else None,
        decode_bytes_per_token=(artifact.decode_bytes_per_token or None) if artifact else None,
        compression_seconds=(artifact.wall_seconds or None) if artifact else None,
        compression_peak_bytes=(artifact.peak_memory_bytes or None) if artifact else None,
        compressed_on=artifact.device if artifact else "",
        measured=variant.measured,
        measured_on=f"{e.family} {e.version}, {e.device_class}" if (e := variant.engine) else "",
        is_reference=variant.is_reference,
        layers=artifact.layers if artifact else (),
        histogram=artifact.histogram if artifact else None,
    )


def _score(evaluation: EvaluationStatus, score: ScoreFacts) -> ReportScore:
    counts = score.counts
    return ReportScore(
        variant_key=evaluation.variant_key,
        dimension=evaluation.dimension,
        metric=score.metric,
        parser_version=score.parser_version,
        value=score.value,
        partial_value=score.partial_value,
        paper_rounded_value=score.paper_rounded_value,
        interval_low=score.interval.low if score.interval else None,
        interval_high=score.interval.high if score.interval else None,
        n=counts.n,
        n_expected=counts.n_expected,
        completions=counts.completions,
        refused=counts.refused,
        unparsable=counts.unparsable,
        overlength=counts.overlength,
        refusal_rule=score.refusal_rule,
        complete=score.complete,
        missing=score.missing,
        verdicts_digest=score.verdicts_digest,
        scenarios=tuple(
            ReportScenario(
                scenario=part.scenario,
                value=part.value,
                interval_low=part.interval_low,
                interval_high=part.interval_high,
                n=part.counts.n,
                n_expected=part.counts.n_expected,
                sub_values=part.sub_values,
            )
            for part in score.scenarios
        ),
    )


def _not_run(facts: Facts, evaluations: Sequence[EvaluationStatus]) -> list[NotRun]:
    """What was asked for and is not there, with the reason."""
    found: list[NotRun] = []
    known = {(e.variant_key, e.dimension): e for e in evaluations}
    for variant in facts.variants:
        reason = from_document(variant.error).text if variant.error else "was not reached"
        if variant.artifact is None:
            found.append(NotRun(what=variant.key, why=reason))
            continue
        for dimension in facts.spec.dimensions:
            evaluation = known.get((variant.key, dimension))
            what = f"{variant.key}: {dimension}"
            if evaluation is None:
                found.append(NotRun(what=what, why=reason))
            elif evaluation.state != "SUCCEEDED":
                error = from_document(evaluation.error).text if evaluation.error else reason
                found.append(NotRun(what=what, why=error))
    incomplete: dict[str, dict[str, None]] = {}
    for evaluation in evaluations:
        for score in evaluation.scores:
            if score.parser_version == facts.spec.main_parser and score.missing:
                reasons = incomplete.setdefault(evaluation.dimension, {})
                reasons.update(dict.fromkeys(score.missing))
    for dimension, missing in incomplete.items():
        found.append(NotRun(what=f"parts of {dimension}", why="; ".join(missing)))
    if facts.spec.row_limit:
        why = f"the study asks for at most {facts.spec.row_limit} rows per scenario"
        found.append(NotRun(what="further rows", why=why))
    return found


def _estimand(spec: StudySpec) -> str:
    rows = f"at most {spec.row_limit} rows per scenario" if spec.row_limit else "all rows"
    if isinstance(spec, CanarySpec):
        return (
            f"These numbers are about these weights on {rows} of these prompts, under this load on "
            f"this machine: {spec.load.sentence}; parser {spec.main_parser}."
        )
    return (
        f"These numbers are about these weights on {rows} of this data pack, with prompt profile "
        f"“{spec.prompts_asked}”, sampling profile “{spec.sampling_profile}”, parser "
        f"{spec.main_parser}, and calibration seeds "
        f"{', '.join(str(seed) for seed in spec.calibration_seeds)}."
    )


def _provenance(facts: Facts, evaluations: Sequence[EvaluationStatus]) -> list[Fact]:
    spec = facts.spec
    engines = {
        f"{e.family} {e.version}, {e.dtype}, KV cache {e.kv_cache_dtype}, "
        f"context {e.max_model_len}, {e.device_class}"
        for variant in facts.variants
        if (e := variant.engine) is not None
    }
    backends = {v.artifact.backend for v in facts.variants if v.artifact and v.artifact.backend}
    packs = {e.pack_digest for e in evaluations if e.pack_digest}
    metrics = {
        f"{e.dimension}: {s.metric} ({s.parser_version})" for e in evaluations for s in e.scores
    }
    pairs = [
        ("Study", facts.study_id),
        ("Models", ", ".join(model.uri for model in spec.models)),
        ("Data pack", spec.pack.uri),
        ("Data pack digest", ", ".join(sorted(packs))),
        ("Prompt profile", spec.prompts_asked),
        ("Sampling profile", spec.sampling_profile),
        ("Parsers", ", ".join(spec.parser_versions)),
        ("Metrics", "; ".join(sorted(metrics))),
        ("Seed of rows and sampling", str(spec.seed)),
        ("Calibration", f"{spec.calibration.source}, {spec.calibration.samples} sequences of "
         f"{spec.calibration.sequence_length} tokens"),
        ("Engine", "; ".join(sorted(engines))),
        ("Compression", ", ".join(sorted(backends))),
        ("Assay", facts.version),
    ]  # fmt: skip
    return [Fact(name=name, value=value) for name, value in pairs if value]
