"""`assay report`, `assay gate`, `assay rescore`: what is known about a study that ran."""

from __future__ import annotations

import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from assay_cli import documents, words
from assay_cli.app import Exit, Session, command
from assay_cli.connect import connected
from assay_cli.coordinator import StudyId, coordinator, download, save
from assay_cli.output import plain_table
from assay_cli.study_summary import gate_exit_code
from assay_cli.study_watch import report_path
from assay_coordinator.report.ci import render_junit, render_markdown
from assay_coordinator.wire.results import gate_from_message
from assay_core.client import call
from assay_core.errors import InvalidArgument
from assay_core.pb import (
    comparison_pb2,
    coordination_pb2,
    evaluation_pb2,
    evaluation_pb2_grpc,
)

_RESCORE_TIMEOUT_SECONDS = 3600.0
_LEADERBOARD_TIMEOUT_SECONDS = 600.0


class Format(StrEnum):
    """Forms of a report."""

    HTML = "html"
    JSON = "json"
    CSV = "csv"
    OPENMETRICS = "openmetrics"
    PLOTS = "plots"  # a ZIP of every picture as SVG and PNG


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    command(app, "report", rich_help_panel="Results")(report)
    command(app, "gate", rich_help_panel="Results")(gate)
    command(app, "leaderboard", rich_help_panel="Results")(leaderboard)
    command(app, "rescore", rich_help_panel="Results")(rescore)


async def report(
    session: Session,
    study: StudyId,
    form: Annotated[Format, typer.Option("--format", help="Form of the report.")] = Format.HTML,
    file: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write it here; `-` is stdout.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Say what a study found and where its report is, or fetch the report."""
    output = session.output
    async with coordinator(session) as stub:
        request = coordination_pb2.GetReportRequest(study_id=study)
        response = await call(stub.GetReport, request)
        path = report_path(response, form)
        if str(file) == "-":
            async for chunk in download(stub, study, form):
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            return
        if file is not None:
            path = str(await save(download(stub, study, form), file))
        elif show and not _is_here(path):
            target = _temporary(f"assay-{study}.{form}")
            path = str(await save(download(stub, study, form), target))
    if show:
        typer.launch(path)

    def render() -> None:
        output.line(response.headline)
        output.line(path)

    output.result(
        {"headline": response.headline, "path": path, "files": list(response.files)}, render
    )


async def gate(
    session: Session,
    study: StudyId,
    file: Annotated[
        Path | None, typer.Option("-f", "--file", help="Policy, YAML; default the study's own.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", help="Write JUnit XML here, for CI systems.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Append a Markdown summary to this file.")
    ] = None,
) -> None:
    """Apply a policy to a study: exit 0 pass, 1 fail, 3 inconclusive (2: wrong use or an error)."""
    request = coordination_pb2.EvaluateGateRequest(study_id=study)
    if file is not None:
        request.policy.CopyFrom(documents.gate_policy(file))
    async with coordinator(session) as stub:
        result = (await call(stub.EvaluateGate, request)).result
    judged = gate_from_message(result)
    if junit is not None:
        junit.parent.mkdir(parents=True, exist_ok=True)
        junit.write_bytes(render_junit(judged, study))
    if markdown is not None:
        markdown.parent.mkdir(parents=True, exist_ok=True)
        with markdown.open("a", encoding="utf-8") as target:
            target.write(render_markdown(judged, study))
    session.output.result({"result": result}, lambda: _show_gate(session, result))
    raise Exit(gate_exit_code(result))


async def leaderboard(
    session: Session,
    dimension: Annotated[str, typer.Option(help="Rank by this; default the mean.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most lines to show.")] = 50,
) -> None:
    """Rank the variants of all finished studies of the project."""
    request = coordination_pb2.ListLeaderboardRequest(
        project=session.settings.project, dimension=dimension
    )
    request.options.page_size = limit
    async with coordinator(session) as stub:
        response = await call(stub.ListLeaderboard, request, timeout=_LEADERBOARD_TIMEOUT_SECONDS)
    dimensions = sorted({name for entry in response.entries for name in entry.scores})
    table = plain_table("", "model", "recipe", "rows", dimension or "mean", *dimensions)
    for entry in response.entries:
        scores = [f"{entry.scores[d]:.1f}" if d in entry.scores else "" for d in dimensions]
        rows = f"{entry.row_limit}/scenario" if entry.row_limit else "all"
        table.add_row(
            str(entry.rank), entry.model, entry.label, rows, f"{entry.value:.1f}", *scores
        )
    session.output.result(response, lambda: session.output.show(table))


async def rescore(
    session: Session,
    study: StudyId,
    parser: Annotated[str, typer.Option(help="Parser version, such as ct-2024-02.")],
    dimension: Annotated[
        list[str] | None, typer.Option(help="Only this dimension; repeatable.")
    ] = None,
) -> None:
    """Score a study's stored completions with another parser version. Needs no model."""
    async with coordinator(session) as stub:
        request = coordination_pb2.GetStudyRequest(id=study)
        found = (await call(stub.GetStudy, request)).study
    wanted = set(dimension or found.spec.dimensions)
    if unknown := sorted(wanted - set(found.spec.dimensions)):
        raise InvalidArgument.of(
            "--dimension",
            f"names {unknown[0]}, which the study has not",
            remedy=f"use {', '.join(found.spec.dimensions)}",
        )
    table = plain_table("variant", "dimension", "was", parser, "refused", "unparsable")
    scores = []
    for name in sorted(wanted):
        async with connected(
            session.endpoints.evaluator(name),
            evaluation_pb2_grpc.EvaluationServiceStub,
            session.settings,
        ) as evaluator:
            for variant, evaluation in _evaluations(found, name):
                score = (
                    await call(
                        evaluator.Rescore,
                        evaluation_pb2.RescoreRequest(
                            id=evaluation.evaluation_id, parser_version=parser
                        ),
                        timeout=_RESCORE_TIMEOUT_SECONDS,
                    )
                ).score
                scores.append({"variant": variant, "dimension": name, "score": score})
                table.add_row(
                    variant,
                    name,
                    _value(evaluation.score),
                    _value(score),
                    f"{score.counts.refused:,}",
                    f"{score.counts.unparsable:,}",
                )
    session.output.result({"scores": scores}, lambda: session.output.show(table))


def _evaluations(
    study: coordination_pb2.Study, dimension: str
) -> list[tuple[str, coordination_pb2.StudyEvaluation]]:
    return [
        (variant.key, evaluation)
        for variant in study.variants
        for evaluation in variant.evaluations
        if evaluation.dimension == dimension and evaluation.evaluation_id
    ]


def _value(score: evaluation_pb2.Score) -> str:
    if score.HasField("value"):
        return f"{score.value:.2f}"
    return f"{score.partial_value:.2f}*" if score.HasField("partial_value") else "-"


def _show_gate(session: Session, result: comparison_pb2.GateResult) -> None:
    output = session.output
    output.line(result.headline)
    for variant in result.variants:
        mark = words.VERDICT_MARKS.get(variant.verdict, "")
        output.line(f"{mark} {variant.variant_key}: {words.verdict(variant.verdict)}")
        for reason in variant.reasons:
            output.line(f"    {reason}")
        for check in variant.checks:
            if check.warning:
                output.line(f"    warning: {check.detail}")


def _is_here(path: str) -> bool:
    return Path(path).is_file()


def _temporary(name: str) -> Path:
    return Path(tempfile.mkdtemp()) / name
