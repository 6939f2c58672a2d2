"""`assay evidence`, `assay verify`: what a result rests on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assay_cli.app import Exit, Session, command
from assay_cli.coordinator import StudyId, coordinator, download
from assay_cli.evidence import POLICY, json_bytes, pack, verify
from assay_cli.failures import ExitCode
from assay_cli.output import to_document
from assay_coordinator.wire.results import policy_from_message
from assay_core.client import call
from assay_core.errors import NotFound
from assay_core.pb import coordination_pb2


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    command(app, "evidence", rich_help_panel="Results")(evidence)
    command(app, "verify", rich_help_panel="Results")(verify_file)


async def evidence(
    session: Session,
    study: StudyId,
    file: Annotated[Path | None, typer.Option("-o", "--output", help="Where to write it.")] = None,
) -> None:
    """Write all that a result rests on into one ZIP, with a digest of every file."""
    files: dict[str, bytes] = {}
    async with coordinator(session) as stub:
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
            pieces = [piece async for piece in download(stub, study, each.format)]
            files[f"report/{name}"] = b"".join(pieces)
    target = file or Path(f"evidence-{study}.zip")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(pack(study, files))

    def render() -> None:
        session.output.line(str(target))
        session.output.note(f"next: assay verify {target}")

    session.output.result({"file": str(target), "files": sorted(files)}, render)


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
