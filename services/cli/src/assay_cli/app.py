"""How a command is made: common options, a session, asyncio, errors and exit codes.

    @command(app, "show")
    async def show(session: Session, study: Annotated[str, typer.Argument(help="...")]) -> None:

Every command has the common options, so that `assay study list --json` and
`assay --json study list` are the same.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from assay_cli.connect import Endpoints
from assay_cli.failures import ExitCode, debugging, render_error, unexpected
from assay_cli.output import Output
from assay_cli.settings import CliSettings, load_settings
from assay_core.errors import AssayError, FailedPrecondition

_PANEL = "Common options"
COMMON: dict[str, Any] = {
    "json_mode": Annotated[
        bool, typer.Option("--json", help="Print JSON on stdout.", rich_help_panel=_PANEL)
    ],
    "project": Annotated[
        str | None, typer.Option(help="Project of resources.", rich_help_panel=_PANEL)
    ],
    "server": Annotated[
        str | None, typer.Option(help="Coordinator HOST:PORT.", rich_help_panel=_PANEL)
    ],
    "token": Annotated[
        str | None,
        typer.Option(help="Bearer token; prefer the variable ASSAY_TOKEN.", rich_help_panel=_PANEL),
    ],
    "home": Annotated[
        Path | None, typer.Option(help="Folder of local data.", rich_help_panel=_PANEL)
    ],
}
_CONTEXT = inspect.Parameter(
    "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
)
_DEFAULTS: dict[str, Any] = dict.fromkeys(COMMON) | {"json_mode": False}


@dataclass(frozen=True)
class Session:
    """What a command works with."""

    settings: CliSettings
    output: Output

    @property
    def endpoints(self) -> Endpoints:
        """Where the services are."""
        return Endpoints(self.settings)


class Exit(Exception):  # noqa: N818  (it is not an error; typer names its own the same)
    """Ends a command with a verdict's exit code."""

    def __init__(self, code: ExitCode) -> None:
        super().__init__(code)
        self.code = code


class Interrupted(Exception):  # noqa: N818  (as Exit)
    """Ctrl-C, with what goes on in the background and the next command.

    Not a KeyboardInterrupt: asyncio would let that through its loop and print the task's traceback.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__()
        self.lines = lines


CommandFunction = Callable[..., Coroutine[Any, Any, None] | None]


def command(app: typer.Typer, name: str, **options: Any) -> Callable[[CommandFunction], Any]:
    """Registers a function that takes a Session first as a command with the common options."""

    def register(function: CommandFunction) -> CommandFunction:
        own = _own_parameters(function)

        def run(context: typer.Context, **values: Any) -> None:
            given = {key: values.pop(key) for key in COMMON}
            _run(function, _merged(context, given), values)

        functools.update_wrapper(run, function)
        del run.__dict__["__wrapped__"]  # Else typer reads the inner signature.
        app.command(name, **options)(with_signature(run, [_CONTEXT, *own, *common_parameters()]))
        return function

    return register


def common_parameters() -> list[inspect.Parameter]:
    """The common options as parameters of a function."""
    return [
        inspect.Parameter(
            key, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS[key], annotation=kind
        )
        for key, kind in COMMON.items()
    ]


def accept_common_before(app: typer.Typer) -> None:
    """Lets the common options stand before the subcommand too."""

    def remember(context: typer.Context, **values: Any) -> None:
        context.obj = values

    app.callback()(with_signature(remember, [_CONTEXT, *common_parameters()]))


def with_signature(function: Any, parameters: list[inspect.Parameter]) -> Any:
    """Gives a function of `**values` the parameters that typer shall see."""
    function.__signature__ = inspect.Signature(parameters)
    function.__annotations__ = {each.name: each.annotation for each in parameters}
    return function


def _own_parameters(function: CommandFunction) -> list[inspect.Parameter]:
    hints = get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return [each.replace(annotation=hints[each.name]) for each in parameters]


def _merged(context: typer.Context, given: dict[str, Any]) -> dict[str, Any]:
    before: dict[str, Any] = context.find_root().obj or {}
    return {key: value or before.get(key) for key, value in given.items()}


def _run(function: CommandFunction, common: dict[str, Any], values: dict[str, Any]) -> None:
    output = Output(json_mode=bool(common.pop("json_mode")))
    try:
        session = Session(load_settings(**common), output)
        result = function(session, **values)
        if inspect.iscoroutine(result):
            asyncio.run(result)
    except Exit as end:
        raise typer.Exit(end.code) from None
    except AssayError as error:
        if debugging():
            raise
        render_error(error, output)
        raise typer.Exit(ExitCode.ERROR) from None
    except (Interrupted, KeyboardInterrupt) as interrupt:
        for line in getattr(interrupt, "lines", ("interrupted",)):
            output.note(line)
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except typer.Abort:
        output.note("nothing was done")  # The answer to a question was no.
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except (typer.Exit, BrokenPipeError):
        raise  # Typer ends quietly where the reader of a pipe has gone.
    except Exception as error:  # The outermost edge: no user sees a traceback.
        if debugging():
            raise
        if isinstance(error, OSError) and error.filename is not None:
            render_error(_file_error(error), output)
        else:
            unexpected(error, output)
        raise typer.Exit(ExitCode.ERROR) from None


def _file_error(error: OSError) -> AssayError:
    """A file that a user names and that cannot be read or written is no defect of ours."""
    return FailedPrecondition(
        f"{error.filename}: {(error.strerror or type(error).__name__).lower()}",
        reason="FILE_FAILED",
        remedy="check that the path is right and that you may read or write it",
    )
