"""`assay export mlflow`: results to where a team keeps its experiments."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from assay_cli import mlflow_export
from assay_cli.app import Session, command
from assay_cli.coordinator import StudyId, coordinator, download
from assay_coordinator.report.model import ReportData
from assay_core.client import call
from assay_core.pb import coordination_pb2

app = typer.Typer(help="Results to other tools.", no_args_is_help=True)


@command(app, "mlflow")
async def mlflow(
    session: Session,
    study: StudyId,
    uri: Annotated[
        str,
        typer.Option(
            "--tracking-uri",
            envvar="MLFLOW_TRACKING_URI",
            help="Tracking server, or sqlite:///FILE.",
        ),
    ],
    experiment: Annotated[str, typer.Option(help="Name of the experiment.")] = "assay",
) -> None:
    """Log a study to MLflow: a run with the report, and a nested run for each variant.

    Needs the extra: `make mlflow`. Logging a study again writes into the same runs.
    """
    files: dict[str, bytes] = {}
    async with coordinator(session) as stub:
        report = await call(stub.GetReport, coordination_pb2.GetReportRequest(study_id=study))
        for each in report.files:
            pieces = [piece async for piece in download(stub, study, each.format)]
            files[each.uri.rsplit("/", 1)[-1]] = b"".join(pieces)
    data = ReportData.model_validate_json(files["report.json"])
    with tempfile.TemporaryDirectory() as folder:
        ids = await asyncio.to_thread(
            mlflow_export.export, data, files, Path(folder), uri=uri, experiment=experiment
        )

    def render() -> None:
        session.output.line(f"run {ids[0]} with {len(ids) - 1} nested runs in {experiment}")

    session.output.result({"run": ids[0], "variants": ids[1:], "experiment": experiment}, render)
