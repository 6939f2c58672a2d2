"""`assay data ...`: import and check data packs on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from assay_cli.app import Session, command
from assay_evaluators.packs import Pack
from assay_evaluators.packs.decodingtrust import import_decodingtrust
from assay_evaluators.sdk.dimension import dimension_names, load_dimension

app = typer.Typer(help="Data packs.", no_args_is_help=True)


@command(app, "import-decodingtrust")
def import_pack(
    session: Session,
    checkout: Annotated[Path, typer.Argument(help="A DecodingTrust checkout of yours.")],
    out: Annotated[Path, typer.Option("--out", help="Directory of the pack; must not exist.")],
) -> None:
    """Turn a DecodingTrust checkout into a data pack."""
    session.output.note(f"importing {checkout}")
    report = import_decodingtrust(checkout.expanduser(), out.expanduser())
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
    found = Pack.open(uri)
    checked = _check_rows(found)
    # After the rows, because who edited a pack wants to know the row first.
    found.verify()
    found.prompts()
    output = session.output

    def render() -> None:
        for name, rows in checked.items():
            output.line(f"{name}: {rows:,} rows are good")
        unknown = sorted(set(found.manifest.dimensions) - set(dimension_names()))
        if unknown:
            output.line(f"not checked row by row, no evaluator is installed: {', '.join(unknown)}")
        output.line(found.digest)

    facts: dict[str, Any] = {
        "pack": uri,
        "name": found.manifest.name,
        "version": found.manifest.version,
        "licence": found.manifest.licence,
        "digest": found.digest,
        "rows": checked,
    }
    output.result(facts, render)


def _check_rows(pack: Pack) -> dict[str, int]:
    """Rows by dimension that has an evaluator here; the first broken one raises."""
    checked: dict[str, int] = {}
    for name in dimension_names():
        entry = pack.manifest.dimensions.get(name)
        if entry is None:
            continue
        model = load_dimension(name).row_model
        checked[name] = sum(
            len(pack.rows(scenario.file, model))
            for scenario in entry.scenarios.values()
            if scenario.file is not None
        )
    return checked
