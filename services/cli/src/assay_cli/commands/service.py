"""`assay doctor`, `assay version`: the installation and the servers."""

from __future__ import annotations

import asyncio
import importlib
from importlib.metadata import version as package_version
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from assay_cli.app import Exit, Session, command
from assay_cli.connect import connected
from assay_cli.failures import ExitCode
from assay_core.client import call
from assay_core.errors import AssayError
from assay_core.pb import (
    common_pb2,
    compression_pb2,
    compression_pb2_grpc,
    coordination_pb2,
    coordination_pb2_grpc,
    serving_pb2,
    serving_pb2_grpc,
)

_STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}
_TIMEOUT_SECONDS = 5.0
_SERVERS: dict[str, tuple[Any, Any]] = {
    "coordinator": (
        coordination_pb2_grpc.CoordinationServiceStub,
        coordination_pb2.GetServerInfoRequest,
    ),
    "compression": (
        compression_pb2_grpc.CompressionServiceStub,
        compression_pb2.GetServerInfoRequest,
    ),
    "serving": (serving_pb2_grpc.ServingServiceStub, serving_pb2.GetServerInfoRequest),
}


def register(root: typer.Typer) -> None:
    """Adds the commands."""
    command(root, "doctor", rich_help_panel="Installation")(doctor)
    command(root, "version", rich_help_panel="Installation")(version)


def doctor(session: Session) -> None:
    """Look for what keeps Assay from working here, and say how to mend it."""
    # Imported late: it loads numpy and pyarrow, which would double the start of other commands.
    findings = importlib.import_module("assay_cli.doctor").examine(session.settings)
    output = session.output
    table = Table(box=None, pad_edge=False)
    for name in ("", "what", "found", "remedy"):
        table.add_column(name, no_wrap=name == "what")
    for each in findings:
        table.add_row(
            Text(each.grade, style=_STYLES[each.grade]), each.what, each.found, each.remedy
        )
    output.result({"findings": [each.document() for each in findings]}, lambda: output.show(table))
    if any(each.grade == "problem" for each in findings):
        raise Exit(ExitCode.ERROR)


async def version(session: Session) -> None:
    """Print the version of this command and of the servers it reaches."""
    own = package_version("assay-cli")
    names = list(_SERVERS)
    found = await asyncio.gather(*(_info(session, name) for name in names))
    servers = {name: info for name, info in zip(names, found, strict=True) if info is not None}

    def render() -> None:
        session.output.line(f"assay {own}")
        for name, info in servers.items():
            session.output.line(f"{name} {info.version} ({', '.join(info.apis)})")

    session.output.result({"version": own, "servers": servers}, render)


async def _info(session: Session, name: str) -> common_pb2.ServerInfo | None:
    stub, request = _SERVERS[name]
    try:
        async with connected(session.endpoints.address(name), stub, session.settings) as server:
            response = await call(server.GetServerInfo, request(), timeout=_TIMEOUT_SECONDS)
    except AssayError:
        return None  # A server that is not there has no version; `status` says more.
    info: common_pb2.ServerInfo = response.info
    return info
