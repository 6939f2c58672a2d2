"""`assay dimension`: what an evaluator measures, and how."""

from __future__ import annotations

from typing import Annotated

import typer

from assay_cli.app import Session, command
from assay_cli.connect import connected
from assay_core.client import call
from assay_core.pb import evaluation_pb2, evaluation_pb2_grpc


def register(app: typer.Typer) -> None:
    """Adds the command."""
    command(app, "dimension", rich_help_panel="Data")(dimension)


async def dimension(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="DIMENSION", help="`ethics`, `privacy`, ...")],
) -> None:
    """Say what a dimension measures: data sets with licence, metrics, parsers, scenarios."""
    async with connected(
        session.endpoints.evaluator(name),
        evaluation_pb2_grpc.EvaluationServiceStub,
        session.settings,
    ) as evaluator:
        found = await call(evaluator.DescribeDimension, evaluation_pb2.DescribeDimensionRequest())
    output = session.output

    def render() -> None:
        output.line(f"{found.dimension}: {found.summary}")
        for data in found.data_sets:
            output.line(f"  data     {data.name} ({data.licence}), {data.reference}")
        for metric in found.metrics:
            output.line(f"  metric   {metric.id}: {metric.summary} {metric.reference}")
        for parser in found.parsers:
            output.line(f"  parser   {parser.version}: {parser.summary}")
        output.line(f"  {len(found.scenarios)} scenarios: {', '.join(found.scenarios)}")

    output.result(found, render)
