"""`assay examples`, `assay explain`: the texts behind verdicts, where they may be shown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay_cli.app import Session, command
from assay_cli.connect import connected
from assay_cli.coordinator import StudyId, coordinator, download, save
from assay_cli.output import to_document
from assay_core.client import call
from assay_core.errors import AssayError, InvalidArgument, NotFound
from assay_core.pb import coordination_pb2, evaluation_pb2, evaluation_pb2_grpc

if TYPE_CHECKING:
    from assay.evaluation.v1.evaluation_pb2_grpc import EvaluationServiceAsyncStub as Evaluator

_SECONDS = 600.0


class Format(StrEnum):
    """Forms of a report that hold texts."""

    HTML = "html"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    command(app, "examples", rich_help_panel="Results")(examples)
    command(app, "explain", rich_help_panel="Results")(explain)


async def examples(
    session: Session,
    study: StudyId,
    form: Annotated[Format, typer.Option("--format", help="Form of the report.")] = Format.HTML,
    file: Annotated[Path | None, typer.Option("-o", "--output", help="Where to write it.")] = None,
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write the report with prompts and completions of samples whose answer changed.

    The stored report holds no such text; this copy does, so keep it as the data pack's licence
    asks. Packs that do not say `display: allow`, and privacy, show verdicts only.
    """
    target = file or Path(f"examples-{study}.{form}")
    async with coordinator(session) as stub:
        await save(download(stub, study, form, examples=True), target)
    if show:
        typer.launch(str(target))
    session.output.result({"file": str(target)}, lambda: session.output.line(str(target)))


async def explain(
    session: Session,
    study: StudyId,
    sample: Annotated[str, typer.Argument(metavar="SAMPLE", help="Id of the sample.")],
    dimension: Annotated[str, typer.Option(help="Its dimension; default: search all.")] = "",
    scenario: Annotated[str, typer.Option(help="Its scenario; default: any.")] = "",
) -> None:
    """Show what each variant answered to one sample and how it was judged.

    Needs a pack and a dimension that allow their texts to be shown.
    """
    async with coordinator(session) as stub:
        found = (await call(stub.GetStudy, coordination_pb2.GetStudyRequest(id=study))).study
    wanted = [dimension] if dimension else list(found.spec.dimensions)
    if dimension and dimension not in found.spec.dimensions:
        raise InvalidArgument.of(
            "--dimension", f"names {dimension}, which the study has not",
            remedy=f"use {', '.join(found.spec.dimensions)}",
        )  # fmt: skip
    shown: list[dict[str, object]] = []
    refused: AssayError | None = None
    for name in wanted:
        try:
            shown += await _examples(session, found, name, (scenario, sample))
        except AssayError as error:
            refused = error
    if not shown:
        raise refused or NotFound(
            f"no evaluation of {study} has a sample {sample}",
            remedy="sample ids are those of the data pack's rows",
        )

    def render() -> None:
        for each in shown:
            session.output.line(f"{each['variant']}  {each['dimension']}/{each['scenario']}")
            session.output.line(f"  {each['verdict']} {each['value']}: {each['text']!r}")

    session.output.result({"examples": shown}, render)


async def _examples(
    session: Session, study: coordination_pb2.Study, dimension: str, where: tuple[str, str]
) -> list[dict[str, object]]:
    scenario, sample = where
    found: list[dict[str, object]] = []
    async with connected(
        session.endpoints.evaluator(dimension),
        evaluation_pb2_grpc.EvaluationServiceStub,
        session.settings,
    ) as evaluator:
        for variant in study.variants:
            for evaluation in variant.evaluations:
                if evaluation.dimension != dimension or not evaluation.evaluation_id:
                    continue
                request = evaluation_pb2.ListExamplesRequest(
                    id=evaluation.evaluation_id, scenario=scenario, sample_ids=[sample]
                )
                answers = [each async for each in _every(evaluator, request)]
                found += [
                    {
                        "variant": variant.key,
                        "dimension": dimension,
                        "scenario": each.scenario,
                        "completion": each.completion_index,
                        "verdict": each.verdict,
                        "value": each.value if each.HasField("value") else None,
                        "text": each.text,
                        "prompt": [to_document(message) for message in each.messages]
                        or each.prompt,
                    }
                    for each in answers
                ]
    return found


async def _every(
    evaluator: Evaluator, request: evaluation_pb2.ListExamplesRequest
) -> AsyncIterator[evaluation_pb2.Example]:
    """All pages: a sample of 25 completions has more than one."""
    while True:
        page = await call(evaluator.ListExamples, request, timeout=_SECONDS)
        for each in page.examples:
            yield each
        if not page.next_page_token:
            return
        request.options.page_token = page.next_page_token
