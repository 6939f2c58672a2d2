"""`assay data ...`: import and check data packs on this machine."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
from rich.table import Table

from assay_cli.app import Session, command

app = typer.Typer(help="Data packs.", no_args_is_help=True)


@command(app, "import-decodingtrust")
def import_pack(
    session: Session,
    checkout: Annotated[Path, typer.Argument(help="A DecodingTrust checkout of yours.")],
    out: Annotated[Path, typer.Option("--out", help="Directory of the pack; must not exist.")],
) -> None:
    """Turn a DecodingTrust checkout into a data pack."""
    session.output.note(f"importing {checkout}")
    report = _packs().import_decodingtrust(checkout.expanduser(), out.expanduser())
    output = session.output

    def render() -> None:
        table = Table(box=None, pad_edge=False)
        for name in ("dimension", "scenario", "rows", "of", "note"):
            table.add_column(name, no_wrap=True)
        for each in report.scenarios:
            table.add_row(
                each.dimension,
                each.scenario,
                f"{each.rows:,}",
                f"{each.rows_expected:,}",
                each.missing or "",
            )
        output.show(table)
        if not report.is_whole:
            output.line("scores over scenarios that are missing or cut are marked incomplete")
        output.line(f"{report.pack_digest}")
        output.line(str(out))

    output.result(
        {
            "pack": str(out),
            "digest": report.pack_digest,
            "complete": report.is_whole,
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


@command(app, "check")
def check(
    session: Session,
    pack: Annotated[str, typer.Argument(help="Directory or URI of a pack.")],
) -> None:
    """Read a whole pack: digests of all files, every row against its dimension's rules."""
    uri = pack if "://" in pack else str(Path(pack).expanduser().absolute())
    found = _packs().check(uri)
    output = session.output

    def render() -> None:
        for name, rows in found.rows.items():
            output.line(f"{name}: {rows:,} rows are good")
        if found.unchecked:
            names = ", ".join(found.unchecked)
            output.line(f"not checked row by row, no evaluator is installed: {names}")
        output.line(found.digest)

    facts: dict[str, Any] = {
        "pack": uri,
        "name": found.manifest.name,
        "version": found.manifest.version,
        "licence": found.manifest.licence,
        "digest": found.digest,
        "rows": found.rows,
    }
    output.result(facts, render)


def _packs() -> ModuleType:
    # Imported late: numpy and pyarrow would double the start of every other command.
    return importlib.import_module("assay_cli.packs")
