"""The `assay` command: wiring of the subcommands."""

from __future__ import annotations

import typer

from assay_cli.app import accept_common_before
from assay_cli.commands import (
    calibration,
    canary,
    comparisons,
    data,
    dimensions,
    evidence,
    examples,
    export,
    models,
    profile,
    report,
    score,
    service,
    stack,
    study,
    variants,
)

app = typer.Typer(
    name="assay",
    help="Is the compressed model still as trustworthy as the one it came from, and where not?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(study.app, name="study", rich_help_panel="Results")
report.register(app)
comparisons.register(app)
canary.register(app)
score.register(app)
evidence.register(app)
examples.register(app)
app.add_typer(export.app, name="export", rich_help_panel="Results")
variants.register(app)
app.add_typer(variants.app, name="variants", rich_help_panel="Models")
app.add_typer(models.app, name="model", rich_help_panel="Models")
models.register(app)
profile.register(models.app)
calibration.register(data.app)
dimensions.register(app)
app.add_typer(data.app, name="data", rich_help_panel="Data")
stack.register(app)
service.register(app)
accept_common_before(app)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
