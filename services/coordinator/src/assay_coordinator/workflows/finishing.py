"""Step: the end of a study: corrected p-values, the gate, the report, the final state."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from assay_coordinator import statistics
from assay_coordinator.advice import advised
from assay_coordinator.canary_gate import canary_gate
from assay_coordinator.canary_gate import plain_headline as canary_headline
from assay_coordinator.domain.canary import CanaryFacts, CanarySpec
from assay_coordinator.domain.comparison import Comparison, GateResult
from assay_coordinator.domain.matrix import expand
from assay_coordinator.domain.policy import Claim, GatePolicy
from assay_coordinator.domain.progress import EvaluationStatus, VariantStatus
from assay_coordinator.domain.states import ACTIVE
from assay_coordinator.domain.study import StudySpec
from assay_coordinator.gate import Candidate, evaluate_gate
from assay_coordinator.metrics import study_ended
from assay_coordinator.report.assemble import Facts, assemble, plain_headline
from assay_coordinator.report.openmetrics import render_openmetrics
from assay_coordinator.report.tabular import render_csv, render_json
from assay_coordinator.store import ReportFile, StudyRecord
from assay_coordinator.workflows.context import Context, Run
from assay_coordinator.workflows.flips import flips_of_study
from assay_coordinator.workflows.recipes import compare_recipes
from assay_core.digest import sha256_bytes
from assay_core.errors import AssayError, FailedPrecondition, from_document
from assay_core.resources import State
from assay_core.server import package_version


@dataclass(frozen=True)
class Outcome:
    """What became of a study."""

    state: State
    error: AssayError | None
    failures: tuple[str, ...]


async def finish_study(context: Context, run: Run) -> str:
    """Correct, judge, report, and set the final state; returns its name.

    A failed variant does not sink the others: the study SUCCEEDED if there is anything to read off
    it, with the failures listed, and FAILED if no variant was scored, or if variants were asked to
    be compared and none could be.
    """
    variants = await context.store.variants(run.study_id)
    evaluations = await context.store.evaluations(run.study_id)
    await compare_recipes(context, run)
    comparisons = await asyncio.to_thread(
        statistics.corrected, await context.store.comparisons(run.study_id)
    )
    await context.store.put_comparisons(run.study_id, comparisons)
    record = await context.records.get(run.study_id)
    compared = bool(comparisons) or record.status.canary is not None
    outcome = judge(run.spec.dimensions, variants, evaluations, compared=compared)
    gate = _gate(run.spec, record.status.canary, variants, comparisons)
    headline = gate.headline if gate is not None else _plain(run.spec, record, comparisons)
    if outcome.state is State.FAILED and outcome.error is not None:
        headline = f"The {context.kind} failed: {outcome.error.message}."
    elif context.kind == "study":
        headline = advised(
            headline,
            run.study_id,
            run.spec,
            run.extension,
            comparisons=comparisons,
            evaluations=evaluations,
            seconds=time.time() - (record.status.started_at or time.time()),
        )
        gate = gate.model_copy(update={"headline": headline}) if gate is not None else None
    files = await publish(
        context,
        Facts(
            study_id=run.study_id,
            spec=run.spec,
            state=outcome.state.value,
            variants=tuple(variants),
            evaluations=tuple(evaluations),
            comparisons=tuple(comparisons),
            gate=gate,
            headline=headline,
            generated_at=time.time(),
            version=package_version(),
            flips=await flips_of_study(context, run.spec, evaluations, comparisons),
            canary=record.status.canary,
        ),
    )
    await context.records.update(
        run.study_id,
        state=outcome.state,
        expect=ACTIVE,
        error=outcome.error,
        gate=gate,
        headline=headline,
        report=files,
        failures=outcome.failures,
        ended_at=time.time(),
        goal="",
    )
    await context.turns.give_back_all(run.study_id)
    study_ended(outcome.state, comparisons, kind=context.kind)
    await context.store.add_event(run.study_id, headline)
    return outcome.state.value


def _gate(
    spec: StudySpec,
    canary: CanaryFacts | None,
    variants: Sequence[VariantStatus],
    comparisons: Sequence[Comparison],
) -> GateResult | None:
    """The verdict that was asked for; None where none was."""
    if isinstance(spec, CanarySpec):
        return canary_gate(spec.variant.key, canary.measures if canary else (), spec.limits)
    if spec.gate is None:
        return None
    return gate_result(spec.gate, spec, variants, comparisons)


def _plain(spec: StudySpec, record: StudyRecord, comparisons: Sequence[Comparison]) -> str:
    """The answer where no verdict was asked for."""
    if isinstance(spec, CanarySpec):
        found = record.status.canary.measures if record.status.canary else ()
        return canary_headline(spec.variant.key, spec.against.key, found)
    return plain_headline(comparisons, spec)


def judge(
    dimensions: Sequence[str],
    variants: Sequence[VariantStatus],
    evaluations: Sequence[EvaluationStatus],
    *,
    compared: bool,
) -> Outcome:
    """State of the study and the list of what failed. Pure.

    Args:
        dimensions: Dimensions that were asked for.
        variants: Its variants.
        evaluations: Their evaluations.
        compared: Whether any variant could be compared with its reference.
    """
    failures = tuple(
        f"{variant.key}: {from_document(variant.error).text}"
        for variant in variants
        if variant.error is not None
    )
    scored = any(evaluation.state == "SUCCEEDED" for evaluation in evaluations)
    to_compare = any(not variant.is_reference for variant in variants)
    if scored and (compared or not to_compare):
        return Outcome(State.SUCCEEDED, None, failures)
    causes = [v.error for v in variants if v.error] + [e.error for e in evaluations if e.error]
    cause = from_document(causes[0]) if causes else None
    what = "no variant was scored" if not scored else "no variant could be compared"
    error = FailedPrecondition(
        f"{what}: {cause.message}" if cause else what,
        reason=cause.reason if cause else "NOTHING_TO_COMPARE",
        field=cause.field if cause else None,
        remedy=(cause.remedy if cause else None) or "correct the cause and resume the study",
        metadata={"dimensions": ",".join(dimensions)},
    )
    return Outcome(State.FAILED, error, failures)


def gate_result(
    policy: GatePolicy,
    spec: StudySpec,
    variants: Sequence[VariantStatus],
    comparisons: Sequence[Comparison],
) -> GateResult:
    """Apply a policy to what a study has. Pure."""
    main = [c for c in comparisons if c.parser_version == spec.main_parser]
    judged = candidates(policy.claim, spec, variants, main)
    return evaluate_gate(policy, judged, dimensions=spec.dimensions)


def candidates(
    claim: Claim,
    spec: StudySpec,
    variants: Sequence[VariantStatus],
    comparisons: Sequence[Comparison],
) -> list[Candidate]:
    """What a gate judges: each variant, or for a claim about recipes each recipe with its seeds.

    A recipe that looks at no calibration data is one variant, whatever is claimed.
    """
    by_key: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        by_key.setdefault(comparison.variant_key, []).append(comparison)
    depends = {planned.key: planned.recipe.needs_calibration for planned in expand(spec)}
    seeds: dict[str, int] = {}
    for variant in variants:
        seeds[variant.recipe_key] = seeds.get(variant.recipe_key, 0) + (variant.key in by_key)
    found: dict[str, Candidate] = {}
    for variant in variants:
        if variant.is_reference:
            continue
        dependent = depends.get(variant.key, False)
        recipe = claim is Claim.RECIPE and dependent
        key = variant.recipe_key if recipe else variant.key
        found[key] = Candidate(
            key=key,
            comparisons=tuple(by_key.get(key, ())),
            failure="" if key in by_key else _failure(variant, seeds[variant.recipe_key], recipe),
            seeds=seeds[variant.recipe_key],
            depends_on_seed=dependent,
        )
    return list(found.values())


def _failure(variant: VariantStatus, seeds: int, recipe: bool) -> str:
    if recipe and seeds:
        return f"{seeds} calibration seed of it compared; the claim is about the recipe"
    if variant.error is not None and variant.artifact is None:
        return f"not compressed: {from_document(variant.error).message}"
    return "not compared with its reference"


async def publish(context: Context, facts: Facts) -> tuple[ReportFile, ...]:
    """Write the report's files below `reports/<study>`."""
    # matplotlib costs a second to load, which a restart should not wait for.
    from assay_coordinator.report.archive import render_plots  # noqa: PLC0415
    from assay_coordinator.report.html import render_html  # noqa: PLC0415

    data = assemble(facts)
    files = []
    for form, name, render in (
        ("html", "report.html", render_html),
        ("json", "report.json", render_json),
        ("csv", "report.csv", render_csv),
        ("openmetrics", "scores.prom", render_openmetrics),
        ("plots", "plots.zip", render_plots),
    ):
        content = await asyncio.to_thread(render, data)
        key = context.data.join("reports", facts.study_id, name)
        await asyncio.to_thread(context.data.write_bytes, key, content)
        files.append(
            ReportFile(
                format=form,
                uri=context.data.uri_of(key),
                bytes=len(content),
                digest=sha256_bytes(content),
            )
        )
    return tuple(files)
