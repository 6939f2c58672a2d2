"""`assay score`: generations that exist already, scored on this machine without any service."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
from rich.table import Table

from assay_cli.app import Session, command
from assay_cli.output import Output


class Format(StrEnum):
    """Who stored the generations."""

    DECODINGTRUST = "decodingtrust"
    ASSAY = "assay"


def register(app: typer.Typer) -> None:
    """Adds the command to the top level."""
    command(app, "score", rich_help_panel="Results")(score)


def score(
    session: Session,
    *,
    dimension: Annotated[str, typer.Option("--dimension", help="stereotype, fairness, ...")],
    generations: Annotated[
        Path,
        typer.Option(
            "--generations",
            help="A DecodingTrust checkout, its data or results folder, or a folder of one"
            " dimension; with --format assay an Assay data root.",
        ),
    ],
    form: Annotated[
        Format, typer.Option("--format", help="Who stored the generations.")
    ] = Format.DECODINGTRUST,
    pack: Annotated[
        str,
        typer.Option(
            "--pack",
            help="Data pack or checkout with rows and phrase lists; default: the checkout around"
            " the generations.",
        ),
    ] = "",
    model: Annotated[str, typer.Option("--model", help="Which model, if there are several.")] = "",
    parser: Annotated[
        str,
        typer.Option(
            "--parser",
            help="assay-2026 (default); ct-2024-02 or dt-2024-09 to compare with published"
            " numbers.",
        ),
    ] = "",
    allow_incomplete: Annotated[
        bool,
        typer.Option("--allow-incomplete", help="Give the mean over what is there, marked."),
    ] = False,
) -> None:
    """Score generations that exist already, with no service and no model."""
    document = _scoring(form).score_existing(
        dimension,
        generations,
        pack=_pack_uri(session, pack),
        model=model,
        parser=parser,
        allow_incomplete=allow_incomplete,
    )
    session.output.result(document, lambda: _render(session.output, document))


def _pack_uri(session: Session, pack: str) -> str:
    """The demo pack by its name, as services know it; anything else as it is."""
    demo = session.settings.root / "packs" / "demo"
    return str(demo) if pack == "demo" and not Path(pack).exists() else pack


def _render(output: Output, document: Mapping[str, Any]) -> None:
    output.line(f"{document['dimension']} of {document['model']}, parser {document['parser']}")
    table = Table(box=None, pad_edge=False)
    for name in ("scenario", "score", "refusal", "n", "of"):
        table.add_column(name, no_wrap=True, justify="left" if name == "scenario" else "right")
    for name, entry in document["scenarios"].items():
        table.add_row(
            name,
            _number(entry["score"], 2),
            _number(entry["refusal"], 4),
            f"{entry['n']:,}",
            f"{entry['n_expected']:,}",
        )
    output.show(table)
    mark = " over what is there: INCOMPLETE" if document["partial"] else ""
    if document["score"] is None:
        mark = ": incomplete"
    output.line(f"score {_number(document['score'], 4)}{mark} ({document['metric']})")
    if document["paper_rounded_score"] is not None:
        output.line(f"rounded as published {_number(document['paper_rounded_score'], 4)}")
    for name, value in document["values"].items():
        output.line(f"{name} {_number(value, 4)}")
    output.line(f"refusal {_number(document['refusal'], 4)} ({document['refusal_rule']})")
    for each in document["original"]:
        output.line(
            f"original {each['file']} {each['name']}: {_number(each['theirs'], 4)},"
            f" ours {_number(each['ours'], 4)}, difference {_number(each['difference'], 4)}"
        )
    _render_problems(output, document)


def _render_problems(output: Output, document: Mapping[str, Any]) -> None:
    for reason in document["missing"]:
        output.note(f"missing: {reason}")
    for each in document["files"]:
        for reason, count in each["rejected"].items():
            output.note(f"rejected: {each['path']}: {count} x {reason}")
    for each in document["unscored_files"]:
        output.note(f"not scored: {each['path']}: {each['reason']}")
    for path in document["unknown_files"]:
        output.note(f"unknown file: {path}")
    for note in document["notes"]:
        output.note(f"note: {note}")
    if document["missing"] and document["score"] is None:
        output.note("next: --allow-incomplete gives the mean over what is there")


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _scoring(form: Format) -> ModuleType:
    # Imported late: numpy and pyarrow would double the start of every other command.
    name = "existing" if form is Format.DECODINGTRUST else "existing.shards"
    return importlib.import_module(f"assay_evaluators.{name}")
