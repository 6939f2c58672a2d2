"""`assay data ...`: import and check data packs on this machine, upload them to the services."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from assay_cli.app import Session, command
from assay_cli.connect import connected
from assay_cli.output import plain_table
from assay_core.client import call
from assay_core.pb import common_pb2, pack_pb2, pack_pb2_grpc

if TYPE_CHECKING:
    from assay.evaluation.v1.pack_pb2_grpc import PackServiceAsyncStub as Stub

CHUNK_BYTES = 1024 * 1024
UPLOAD_SECONDS = 3600.0

app = typer.Typer(help="Data packs.", no_args_is_help=True)


@command(app, "import-decodingtrust")
def import_pack(
    session: Session,
    checkout: Annotated[Path, typer.Argument(help="A DecodingTrust checkout of yours.")],
    out: Annotated[Path, typer.Option("--out", help="Directory of the pack; must not exist.")],
    also: Annotated[
        list[Path] | None,
        typer.Option(
            "--also",
            help="A further checkout whose texts are read too: the other DecodingTrust repository"
            " (phrase lists differ by version) or comp-trust (MMLU texts). Repeatable.",
        ),
    ] = None,
) -> None:
    """Turn a DecodingTrust checkout into a data pack.

    Prompts and phrase lists are read from its program files, which are never executed, or from a
    prompts.json beside data/.
    """
    session.output.note(f"importing {checkout}")
    report = _packs().import_decodingtrust(
        checkout.expanduser(), out.expanduser(), also=[path.expanduser() for path in also or ()]
    )
    _show_import(session, report)


@command(app, "import-mmlu")
def import_mmlu(
    session: Session,
    folder: Annotated[
        Path, typer.Argument(help="MMLU's data folder (dev/, test/), or its Parquet files.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Directory of the pack; must not exist.")],
    base: Annotated[
        Path | None,
        typer.Option("--base", help="A pack whose content the new one has as well."),
    ] = None,
    heldout: Annotated[
        Path | None,
        typer.Option("--heldout", help="JSON Lines with `text`, for perplexity."),
    ] = None,
) -> None:
    """Turn MMLU's files into a data pack, or add them to a copy of one."""
    session.output.note(f"importing {folder}")
    packs = _packs()
    report = packs.import_mmlu(
        folder.expanduser(),
        out.expanduser(),
        base=packs.open_pack(str(base.expanduser().absolute())) if base is not None else None,
        heldout=heldout.expanduser() if heldout is not None else None,
    )
    _show_import(session, report)


@command(app, "check")
def check(
    session: Session,
    pack: Annotated[str, typer.Argument(help="Directory or URI of a pack.")],
) -> None:
    """Read a whole pack: digests of all files, every row against its dimension's rules."""
    uri = pack if "://" in pack else str(Path(pack).expanduser().absolute())
    found = _packs().check_pack(uri)
    output = session.output

    def render() -> None:
        for name, rows in found.rows.items():
            output.line(f"{name}: {rows:,} rows are good")
        if found.unchecked:
            names = ", ".join(found.unchecked)
            output.line(f"not checked row by row, no evaluator is installed: {names}")
        output.line(found.pack.digest)

    manifest = found.pack.manifest
    facts: dict[str, Any] = {
        "pack": uri,
        "name": manifest.name,
        "version": manifest.version,
        "licence": manifest.licence,
        "digest": found.pack.digest,
        "rows": found.rows,
    }
    output.result(facts, render)


@command(app, "upload")
async def upload(
    session: Session,
    pack: Annotated[Path, typer.Argument(help="Directory of a pack.")],
) -> None:
    """Upload a pack to the services' object store; studies then name it by the printed URI."""
    session.output.note(f"checking {pack}")
    kept = await upload_pack(session, pack.expanduser())

    def render() -> None:
        session.output.line(kept.digest)
        session.output.line(kept.uri)

    session.output.result(pack_pb2.UploadPackResponse(pack=kept), render)


@command(app, "list")
async def list_packs(
    session: Session,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most to show.")] = 100,
) -> None:
    """List uploaded packs."""
    request = pack_pb2.ListPacksRequest(options=common_pb2.ListOptions(page_size=limit))
    async with _depot(session) as stub:
        answer = await call(stub.ListPacks, request)

    def render() -> None:
        table = Table(box=None, pad_edge=False)
        for name in ("name", "version", "licence", "uri"):
            table.add_column(name, overflow="fold")
        for each in answer.packs:
            table.add_row(each.name, each.version, each.licence, each.uri)
        session.output.show(table)

    session.output.result(answer, render)


@command(app, "show")
async def show_pack(
    session: Session,
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help="Digest of an uploaded pack.")],
) -> None:
    """Show an uploaded pack: licence, whether its texts may be shown, scenarios."""
    async with _depot(session) as stub:
        answer = await call(stub.GetPack, pack_pb2.GetPackRequest(digest=digest))
    pack, output = answer.pack, session.output

    def render() -> None:
        output.line(f"{pack.name} {pack.version}, {pack.licence}, display: {pack.display}")
        output.line(f"{len(pack.scenarios)} scenarios")
        output.line(pack.digest)
        output.line(pack.uri)

    output.result(answer, render)


async def upload_pack(session: Session, folder: Path) -> pack_pb2.Pack:
    """Uploads a good pack; one that is there already is found.

    Raises:
        AssayError: Names the file, and the line of a broken row.
    """
    paths = await asyncio.to_thread(_packs().paths_of, folder)
    async with _depot(session) as stub:
        answer = await call(stub.UploadPack, _pieces(folder, paths), timeout=UPLOAD_SECONDS)
    return answer.pack


def _depot(session: Session) -> AbstractAsyncContextManager[Stub]:
    """Every evaluator serves the same packs."""
    address = session.endpoints.any_evaluator()
    return connected(address, pack_pb2_grpc.PackServiceStub, session.settings)


async def _pieces(folder: Path, paths: Sequence[str]) -> AsyncIterator[pack_pb2.UploadPackRequest]:
    for path in paths:
        with (folder / path).open("rb") as stream:
            while chunk := await asyncio.to_thread(stream.read, CHUNK_BYTES):
                yield pack_pb2.UploadPackRequest(path=path, chunk=chunk)


def _show_import(session: Session, report: Any) -> None:
    output = session.output

    def render() -> None:
        table = plain_table("dimension", "scenario", "rows", "of", "note", wraps="note")
        for each in report.scenarios:
            table.add_row(
                each.dimension,
                each.scenario,
                f"{each.rows:,}",
                f"{each.rows_expected:,}",
                each.missing or "",
            )
        output.show(table)
        if report.unverified:
            names = ", ".join(report.unverified)
            output.line(f"texts that are not those of the published commits: {names}")
        if not report.is_whole:
            output.line("scores over scenarios that are missing or cut are marked incomplete")
        output.line(f"{report.pack_digest}")
        output.line(report.out)

    output.result(
        {
            "pack": report.out,
            "digest": report.pack_digest,
            "complete": report.is_whole,
            "unverified_texts": list(report.unverified),
            "scenarios": [
                {
                    "dimension": each.dimension,
                    "scenario": each.scenario,
                    "rows": each.rows,
                    "rows_expected": each.rows_expected,
                    "missing": each.missing,
                }
                for each in report.scenarios
            ],
        },
        render,
    )


def _packs() -> ModuleType:
    # Imported late: numpy and pyarrow would double the start of every other command.
    return importlib.import_module("assay_cli.packs")
