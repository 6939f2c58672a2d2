"""`assay evidence`, `assay verify`, `assay explain`: what a result rests on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay_cli.app import Exit, Session, command
from assay_cli.connect import connected
from assay_cli.evidence import POLICY, json_bytes, pack, verify
from assay_cli.failures import ExitCode
from assay_cli.output import to_document
from assay_coordinator.wire.results import policy_from_message
from assay_core.client import call, stream
from assay_core.errors import AssayError, InvalidArgument, NotFound
from assay_core.pb import (
    coordination_pb2,
    coordination_pb2_grpc,
    evaluation_pb2,
    evaluation_pb2_grpc,
)

if TYPE_CHECKING:
    from assay.coordination.v1.coordination_pb2_grpc import CoordinationServiceAsyncStub as Stub

Id = Annotated[str, typer.Argument(metavar="STUDY", help="Id of the study.")]
_SECONDS = 600.0


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    command(app, "evidence", rich_help_panel="Results")(evidence)
    command(app, "verify", rich_help_panel="Results")(verify_file)
    command(app, "explain", rich_help_panel="Results")(explain)


async def evidence(
    session: Session,
    study: Id,
    file: Annotated[Path | None, typer.Option("-o", "--output", help="Where to write it.")] = None,
) -> None:
    """Write all that a result rests on into one ZIP, with a digest of every file."""
    files: dict[str, bytes] = {}
    async with connected(
        session.endpoints.address("coordinator"),
        coordination_pb2_grpc.CoordinationServiceStub,
        session.settings,
    ) as stub:
        found = (await call(stub.GetStudy, coordination_pb2.GetStudyRequest(id=study))).study
        report = await call(stub.GetReport, coordination_pb2.GetReportRequest(study_id=study))
        info = await call(stub.GetServerInfo, coordination_pb2.GetServerInfoRequest())
        files["study.json"] = json_bytes(to_document(found))
        files["server.json"] = json_bytes(to_document(info))
        if found.spec.HasField("gate"):
            policy = policy_from_message(found.spec.gate)
            files[POLICY] = json_bytes(policy.model_dump(mode="json"))
        for each in report.files:
            name = each.uri.rsplit("/", 1)[-1]
            files[f"report/{name}"] = await _download(stub, study, each.format)
    target = file or Path(f"evidence-{study}.zip")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(pack(study, files))

    def render() -> None:
        session.output.line(str(target))
        session.output.note(f"next: assay verify {target}")

    session.output.result({"file": str(target), "files": sorted(files)}, render)


async def _download(stub: Stub, study: str, form: str) -> bytes:
    request = coordination_pb2.DownloadReportRequest(study_id=study, format=form)
    pieces = stream(stub.DownloadReport, request, timeout=_SECONDS)
    return b"".join([piece.chunk async for piece in pieces])


def verify_file(
    session: Session, file: Annotated[Path, typer.Argument(metavar="ZIP", help="Evidence.")]
) -> None:
    """Check an evidence file: digests, and the gate applied again. Exit 0 sound, 1 not."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"there is no file {file}", reason="FILE_NOT_FOUND") from None
    problems = verify(content)

    def render() -> None:
        for problem in problems:
            session.output.line(problem)
        session.output.line(f"{file}: {'not sound' if problems else 'sound'}")

    session.output.result({"sound": not problems, "problems": problems}, render)
    raise Exit(ExitCode.FAILED_VERDICT if problems else ExitCode.OK)


async def explain(
    session: Session,
    study: Id,
    sample: Annotated[str, typer.Argument(metavar="SAMPLE", help="Id of the sample.")],
    dimension: Annotated[str, typer.Option(help="Its dimension; default: search all.")] = "",
    scenario: Annotated[str, typer.Option(help="Its scenario; default: any.")] = "",
) -> None:
    """Show what each variant answered to one sample and how it was judged.

    Needs a pack and a dimension that allow their texts to be shown.
    """
    async with connected(
        session.endpoints.address("coordinator"),
        coordination_pb2_grpc.CoordinationServiceStub,
        session.settings,
    ) as stub:
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
                response = await call(evaluator.ListExamples, request, timeout=_SECONDS)
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
                    for each in response.examples
                ]
    return found
