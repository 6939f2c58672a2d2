"""The coordinator as commands use it: a stub, and the files of a report."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay_cli.app import Session
from assay_cli.connect import connected
from assay_core.client import stream
from assay_core.pb import coordination_pb2, coordination_pb2_grpc
from assay_core.publication import partial_of

if TYPE_CHECKING:
    from assay.coordination.v1.coordination_pb2_grpc import CoordinationServiceAsyncStub as Stub

Filter = Annotated[str, typer.Option("--filter", help="""Conditions: state = "RUNNING".""")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="Most to show.")]
StudyId = Annotated[str, typer.Argument(metavar="STUDY", help="Id of the study.")]
_DOWNLOAD_TIMEOUT_SECONDS = 600.0


def coordinator(session: Session) -> AbstractAsyncContextManager[Stub]:
    """A stub of the coordinator that the session speaks to."""
    return connected(
        session.endpoints.address("coordinator"),
        coordination_pb2_grpc.CoordinationServiceStub,
        session.settings,
    )


async def download(
    stub: Stub, study: str, form: str, *, examples: bool = False
) -> AsyncIterator[bytes]:
    """A file of a study's report, piece by piece; with texts of flipped samples if asked for."""
    request = coordination_pb2.DownloadReportRequest(
        study_id=study, format=form, include_examples=examples
    )
    async for piece in stream(stub.DownloadReport, request, timeout=_DOWNLOAD_TIMEOUT_SECONDS):
        yield piece.chunk


async def save(pieces: AsyncIterator[bytes], file: Path) -> Path:
    """Writes pieces to a file, which appears when all of them are there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(file)
    with partial.open("wb") as target:
        async for piece in pieces:
            target.write(piece)
    partial.replace(file)
    return file
