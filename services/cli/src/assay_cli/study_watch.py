"""Following a study to its end, and what is said then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from assay_cli import words
from assay_cli.failures import ExitCode, render_error
from assay_cli.output import Output
from assay_cli.study_progress import Progress, progress_for
from assay_cli.study_summary import ComparisonTable, exit_code, legend
from assay_cli.watch import watch
from assay_core.client import call, stream
from assay_core.errors import NotFound, from_proto
from assay_core.pb import common_pb2, coordination_pb2

if TYPE_CHECKING:
    from assay.coordination.v1.coordination_pb2_grpc import CoordinationServiceAsyncStub as Stub


# A paused study goes on only when somebody says so: there is nothing to wait for.
_ENDED = words.TERMINAL | {common_pb2.STATE_PAUSED}


async def follow(stub: Stub, study_id: str, patience: float, output: Output) -> ExitCode:
    """Watches a study to its end, prints its summary, and says which exit code it deserves.

    Raises:
        AssayError: If there is no such study, or the server stays away.
    """
    request = coordination_pb2.WatchStudyRequest(id=study_id)
    study = coordination_pb2.Study()
    with progress_for(output) as progress:
        ticking = asyncio.create_task(_tick(progress))
        try:
            async for response in watch(
                lambda: stream(stub.WatchStudy, request),
                lambda response: response.study.meta.state in _ENDED,
                patience=patience,
                output=output,
            ):
                study = response.study
                progress.update(study, response.event)
        finally:
            ticking.cancel()
    await summarise(stub, study, output)
    return exit_code(study)


async def _tick(progress: Progress) -> None:
    while True:
        await asyncio.sleep(1.0)
        progress.tick()


async def summarise(stub: Stub, study: coordination_pb2.Study, output: Output) -> None:
    """Prints the table, the headline and, as the last line, the report's path."""
    report = coordination_pb2.GetReportResponse()
    try:
        # A failed study may have a report of what it did.
        report = await call(
            stub.GetReport, coordination_pb2.GetReportRequest(study_id=study.meta.id)
        )
    except NotFound:
        if study.meta.state == common_pb2.STATE_SUCCEEDED:
            raise
    path = report_path(report, "html")
    document = {
        "study": study,
        "headline": report.headline,
        "comparisons": list(report.comparisons),
        "report": path,
    }
    output.result(document, lambda: _render(study, report, path, output))


def report_path(report: coordination_pb2.GetReportResponse, format_name: str) -> str:
    """Path of a report file on this machine, or its URI if it is elsewhere; empty if none."""
    uri = next((file.uri for file in report.files if file.format == format_name), "")
    return local_path(uri) or uri


def local_path(uri: str) -> str:
    """The path behind a `file://` URI; empty for any other."""
    parts = urlsplit(uri)
    return url2pathname(parts.path) if parts.scheme == "file" else ""


def _render(
    study: coordination_pb2.Study,
    report: coordination_pb2.GetReportResponse,
    path: str,
    output: Output,
) -> None:
    if any(variant.evaluations for variant in study.variants):
        output.show(ComparisonTable(study, report.comparisons))
        for line in legend(study, report.comparisons):
            output.line(line)
    for variant in study.variants:
        if variant.HasField("error"):
            output.note(f"{variant.key} failed:")
            render_error(from_proto(variant.error), output)
    if study.meta.state != common_pb2.STATE_SUCCEEDED:
        if study.meta.HasField("error"):
            render_error(from_proto(study.meta.error), output)
        output.note(f"study {study.meta.id} is {words.state(study.meta.state)}")
        output.note(f"next: assay study resume {study.meta.id}")
    if report.headline:
        output.line("")
        output.line(report.headline)
    if path:
        output.line(path)
