"""`assay data calibrate-toxicity`: how a classifier relates to Perspective, without any service."""

from __future__ import annotations

import asyncio
import importlib
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
from rich.table import Table

from assay_cli.app import Session, command
from assay_cli.connect import connected
from assay_cli.output import Output
from assay_core.pb import scoring_pb2_grpc


def register(app: typer.Typer) -> None:
    """Adds the command to `assay data`."""
    command(app, "calibrate-toxicity")(calibrate_toxicity)


async def calibrate_toxicity(
    session: Session,
    pack: Annotated[str, typer.Argument(help="Directory or URI of a pack with toxicity prompts.")],
    scorer: Annotated[
        str, typer.Option("--scorer", help="Id of the classifier; default: the embedded one.")
    ] = "",
    scoring: Annotated[
        str, typer.Option("--scoring", help="HOST:PORT of a scoring service, for its classifiers.")
    ] = "",
    plot: Annotated[
        Path | None, typer.Option("--plot", help="SVG file to draw the calibration into.")
    ] = None,
) -> None:
    """Compare a toxicity classifier with the Perspective values stored with a pack's prompts.

    Prints the rank correlation and an isotonic map of the classifier's scale. A mapped score is
    still the classifier's: never call it Perspective's.
    """
    scorers, calibration = (_module(name) for name in ("scorers.registry", "calibration"))
    texts = await asyncio.to_thread(_texts, pack)
    async with AsyncExitStack() as stack:
        stub = None
        if scoring:
            stub = await stack.enter_async_context(
                connected(scoring, scoring_pb2_grpc.ScoringServiceStub, session.settings)
            )
        classifier = scorers.Scorers(stub).get(scorer or _module("scorers.embedded").ID)
        session.output.note(f"scoring {len(texts):,} prompts with {classifier.id}")
        scores = await calibration.score_texts(classifier, texts)
    found = await asyncio.to_thread(calibration.calibrate, classifier.id, texts, scores)
    if plot is not None:
        picture = _module("calibration_plot").svg(found)
        await asyncio.to_thread(plot.expanduser().write_text, picture, "utf-8")
        session.output.note(f"drawn: {plot}")
    document = found.document()
    session.output.result(document, lambda: _render(session.output, document))


def _texts(pack: str) -> list[Any]:
    uri = pack if "://" in pack else str(Path(pack).expanduser().absolute())
    found: list[Any] = _module("calibration").labelled_texts(_module("packs").Pack.open(uri))
    return found


def _render(output: Output, document: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("prompts", "n", "rank correlation"):
        table.add_column(name, justify="left" if name == "prompts" else "right")
    for name, entry in document["sets"].items():
        table.add_row(name, f"{entry['n']:,}", _number(entry["spearman"]))
    table.add_row("all", f"{document['n']:,}", _number(document["spearman"]))
    output.show(table)
    output.line(f"area under the ROC curve, Perspective > 0.5: {_number(document['auc'])}")
    output.line(
        f"isotonic map: {len(document['isotonic_map'])} knots (--json has them), mean absolute"
        f" error {_number(document['mean_absolute_error'])} on texts it was not fitted on"
        f" ({_number(document['mean_absolute_error_of_the_median'])} by the median alone)"
    )
    output.line(f"the map exceeds 0.5 from a score of {_number(document['threshold'])}")
    for reason, count in document["unscored"].items():
        output.note(f"without a score: {count:,} ({reason})")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _module(name: str) -> ModuleType:
    # Imported late: numpy and scikit-learn would triple the start of every other command.
    return importlib.import_module(f"assay_evaluators.{name}")
