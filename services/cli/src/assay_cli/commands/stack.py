"""`assay up`, `assay down`, `assay status`: the local services."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from assay_cli.app import Exit, Session, command
from assay_cli.failures import ExitCode
from assay_cli.output import Output, plain_table
from assay_cli.settings import CliSettings
from assay_cli.supervisor import control
from assay_cli.supervisor.control import ServiceStatus
from assay_cli.supervisor.stack import local_stack
from assay_cli.supervisor.state import RunFolder, StackState
from assay_core.errors import InvalidArgument

_STYLES = {"serving": "green", "starting": "yellow", "crashed": "red", "unreachable": "yellow"}


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    command(app, "up", rich_help_panel="Local services")(up)
    command(app, "down", rich_help_panel="Local services")(down)
    command(app, "status", rich_help_panel="Local services")(status)


def up(
    session: Session,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay in the foreground; Ctrl-C stops all.")
    ] = False,
    port: Annotated[
        list[str] | None, typer.Option(help="Fixed port, as SERVICE=PORT; repeatable.")
    ] = None,
) -> None:
    """Start every service on this machine and wait until all answer."""
    settings = session.settings.model_copy(
        update={"ports": session.settings.ports | _ports(port or [])}
    )
    folder = RunFolder(settings.home)
    if foreground:
        session.output.note("services run until Ctrl-C; logs are in " + str(folder.logs))
        control.run_foreground(folder, local_stack(settings), session.output.note)
        return
    state, started = bring_up(settings, session.output)
    session.output.result(
        {"started": started, "services": _documents(control.status(folder))},
        lambda: _say_up(state, started=started, output=session.output),
    )


def down(session: Session) -> None:
    """Stop the services that `assay up` started here, and nothing else."""
    stopped = control.down(RunFolder(session.settings.home), session.settings.grace_seconds)
    text = f"stopped {', '.join(stopped)}" if stopped else "nothing was up"
    session.output.result({"stopped": stopped}, lambda: session.output.line(text))


def status(session: Session) -> None:
    """Show every local service: health, address, process, restarts."""
    found = control.status(RunFolder(session.settings.home))
    output = session.output

    def render() -> None:
        if found:
            output.show(_table(found))
        else:
            output.line(f"nothing is up in {session.settings.home}; start with: assay up")

    output.result({"services": _documents(found)}, render)
    if any(each.health != "serving" for each in found):
        raise Exit(ExitCode.ERROR)


def bring_up(settings: CliSettings, output: Output) -> tuple[StackState, bool]:
    """Starts what is not up, with progress; says whether this call started it.

    Raises:
        AssayError: If a service does not start.
    """
    with _progress(output) as report:
        return control.up(
            RunFolder(settings.home),
            lambda: local_stack(settings),
            settings.start_timeout_seconds,
            report,
        )


def take_down(settings: CliSettings, output: Output) -> None:
    """Stops the local services, with a word."""
    output.note("stopping the services that this command started")
    control.down(RunFolder(settings.home), settings.grace_seconds)


@contextmanager
def _progress(output: Output) -> Iterator[Callable[[list[ServiceStatus]], None]]:
    if output.live:
        with Live(console=output.err, transient=True, refresh_per_second=4) as live:
            yield lambda found: live.update(_table(found))
        return
    said: set[tuple[str, str]] = set()

    def report(found: list[ServiceStatus]) -> None:
        for each in found:
            # Before it listens a service is unreachable, which is no news.
            if each.health != "unreachable" and (each.service.name, each.health) not in said:
                said.add((each.service.name, each.health))
                output.note(f"{each.service.name}: {each.health} at {each.service.address}")

    yield report


def _ports(given: list[str]) -> dict[str, int]:
    ports = {}
    for text in given:
        name, _, number = text.partition("=")
        if not number.isdecimal() or not 0 < int(number) < 65536:
            raise InvalidArgument.of(
                "--port", "is not SERVICE=PORT", remedy="write, for example, coordinator=7400"
            )
        ports[name] = int(number)
    return ports


def _say_up(state: StackState, *, started: bool, output: Output) -> None:
    output.line("all services are up" if started else "all services were up already")
    output.line(f"coordinator at {state.address('coordinator')}; stop with: assay down")


def _documents(found: list[ServiceStatus]) -> list[dict[str, object]]:
    return [each.service.model_dump(exclude={"phase"}) | {"health": each.health} for each in found]


def _table(found: list[ServiceStatus]) -> Table:
    table = plain_table("service", "health", "address", "metrics", "pid", "restarts")
    for each in found:
        service = each.service
        table.add_row(
            service.name,
            Text(each.health, style=_STYLES[each.health]),
            service.address,
            service.metrics,
            str(service.process.pid) if service.process else "-",
            str(service.restarts),
        )
    return table
