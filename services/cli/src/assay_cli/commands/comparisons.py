"""`assay compare`, `assay comparisons`: variants against references, paired."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.table import Table

from assay_cli import words
from assay_cli.app import Session, command
from assay_cli.coordinator import StudyId, coordinator
from assay_core.client import call
from assay_core.errors import InvalidArgument
from assay_core.pb import comparison_pb2, coordination_pb2

_TIMEOUT_SECONDS = 600.0
_STUDY_PREFIX = "study-"


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    command(app, "compare", rich_help_panel="Results")(compare)
    command(app, "comparisons", rich_help_panel="Results")(comparisons)


async def compare(
    session: Session,
    variant: Annotated[str, typer.Argument(metavar="STUDY:VARIANT", help="What is compared.")],
    reference: Annotated[
        str,
        typer.Argument(metavar="[STUDY:]REFERENCE", help="What with; default the same study."),
    ],
) -> None:
    """Compare any two evaluated variants, paired, also of two studies."""
    study, key = _named(variant)
    if not study:
        raise InvalidArgument.of(
            "VARIANT", "has no study", remedy="give STUDY:VARIANT, as `assay study show` lists them"
        )
    other, other_key = _named(reference)
    request = coordination_pb2.CompareVariantsRequest(
        study_id=study, variant_key=key, reference_study_id=other, reference_key=other_key
    )
    async with coordinator(session) as stub:
        response = await call(stub.CompareVariants, request, timeout=_TIMEOUT_SECONDS)
    session.output.result(response, lambda: session.output.show(_table(response.comparisons)))


async def comparisons(
    session: Session,
    study: StudyId,
    only: Annotated[
        str, typer.Option("--filter", help="As `dimension = \"ethics\" AND scenario = ''`.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most to show.")] = 100,
) -> None:
    """List a study's comparisons, whole dimensions and single scenarios."""
    request = coordination_pb2.ListComparisonsRequest(study_id=study)
    request.options.filter, request.options.page_size = only, limit
    async with coordinator(session) as stub:
        response = await call(stub.ListComparisons, request)
    table = _table(response.comparisons, named=True)
    session.output.result(response, lambda: session.output.show(table))


def _named(text: str) -> tuple[str, str]:
    """Study and key of `STUDY:KEY`; no study where there is none, for keys hold colons too."""
    study, colon, key = text.partition(":")
    return (study, key) if colon and study.startswith(_STUDY_PREFIX) else ("", text)


def _table(found: Iterable[comparison_pb2.Comparison], *, named: bool = False) -> Table:
    table = Table(box=None, pad_edge=False)
    names = ("dimension", "scenario", "parser", "difference", "p (Holm)", "pairs", "flips", "")
    for name in ("variant", *names) if named else names:
        table.add_column(name, no_wrap=True)
    for each in found:
        table.add_row(
            *([each.variant_key] if named else []),
            each.dimension,
            each.scenario,
            each.parser_version,
            words.difference(each),
            f"{each.p_value_holm:.3f}" if each.HasField("p_value_holm") else "",
            f"{each.n_pairs:,}",
            f"{100 * each.flip_rate:.1f} %" if each.HasField("flip_rate") else "",
            words.VERDICT_MARKS.get(each.verdict, ""),
        )
    return table
