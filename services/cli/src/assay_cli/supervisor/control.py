"""`up`, `down` and `status`: what a command does to a stack from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from assay_cli.supervisor.monitor import Supervisor, describe_exit, tail
from assay_cli.supervisor.records import find, stop
from assay_cli.supervisor.state import Plan, RunFolder, ServiceState, StackState
from assay_core.errors import AssayError, DeadlineExceeded, FailedPrecondition

Health = Literal["serving", "starting", "crashed", "unreachable"]
# A service that failed this often before it served once will not start by itself.
_HOPELESS_RESTARTS = 2
_POLL_SECONDS = 0.3
_LOCK_ATTEMPTS = 5


@dataclass(frozen=True)
class ServiceStatus:
    """A service as seen now: what the supervisor recorded and what its health says."""

    service: ServiceState
    health: Health


def supervisor_runs(folder: RunFolder) -> bool:
    """Whether a supervisor of this home is alive. The lock decides, not a pid."""
    with folder.lock() as free:
        return not free


def status(folder: RunFolder) -> list[ServiceStatus]:
    """Every service with its health; empty if nothing is up."""
    state = folder.read()
    if state is None:
        return []
    with ThreadPoolExecutor(max_workers=16) as pool:
        healths = list(pool.map(_health, state.services))
    return [ServiceStatus(*pair) for pair in zip(state.services, healths, strict=True)]


def up(
    folder: RunFolder,
    plan: Callable[[], Plan],
    timeout: float,
    report: Callable[[list[ServiceStatus]], None],
) -> tuple[StackState, bool]:
    """Brings the stack up in the background and waits until every service answers.

    Args:
        folder: The home's run folder.
        plan: Lays the stack out; called only if nothing is up.
        timeout: Seconds to wait.
        report: Told the state of things several times a second.

    Returns:
        The stack, and whether this call started it.

    Raises:
        FailedPrecondition: If a service does not start; shows the end of its log.
        DeadlineExceeded: If the time is over.
    """
    started = not supervisor_runs(folder)
    supervisor: subprocess.Popen[bytes] | None = None
    if started:
        stop_orphans(folder)
        folder.write_plan(plan())
        supervisor = _launch(folder)
    try:
        return _wait(folder, supervisor, timeout, report), started
    except (AssayError, KeyboardInterrupt):
        if started:
            down(folder, grace=10.0)
        raise


def run_foreground(folder: RunFolder, plan: Plan, announce: Callable[[str], None]) -> None:
    """Is the supervisor, in this process, until SIGTERM or SIGINT.

    Raises:
        FailedPrecondition: If another one runs.
    """
    with ExitStack() as held:
        # Whoever looks whether a supervisor runs holds the lock for an instant.
        for _ in range(_LOCK_ATTEMPTS):
            if held.enter_context(folder.lock()):
                break
            time.sleep(_POLL_SECONDS)
        else:
            raise FailedPrecondition(
                "services of this home are up already",
                reason="ALREADY_UP",
                remedy="`assay status` shows them, `assay down` stops them",
            )
        stop_orphans(folder)
        supervisor = Supervisor(folder, plan, announce)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: supervisor.request_stop())
        supervisor.run()


def down(folder: RunFolder, grace: float) -> list[str]:
    """Stops the supervisor and its services, and nothing else.

    Returns:
        Names of the services that were stopped.
    """
    state = folder.read()
    if state is None:
        return []
    names = [service.name for service in state.services if service.state == "running"]
    supervisor = find(state.supervisor)
    if supervisor is not None:
        supervisor.send_signal(signal.SIGTERM)
        # The supervisor gives each of three phases its own grace.
        deadline = time.monotonic() + 3 * grace + 10
        while time.monotonic() < deadline and find(state.supervisor) is not None:
            time.sleep(0.1)
    stop_orphans(folder)
    return names


def stop_orphans(folder: RunFolder) -> None:
    """Ends services whose supervisor died, by record, and forgets the stack."""
    state = folder.read()
    if state is None:
        return
    records = [service.process for service in state.services if service.process is not None]
    if find(state.supervisor) is not None:
        records.insert(0, state.supervisor)
    stop(records, grace=10.0)
    folder.clear()


def check_health(address: str, timeout: float = 3.0) -> Health:
    """Asks gRPC health v1 for the server as a whole."""
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError:
            return "unreachable"
    serving = answer.status == health_pb2.HealthCheckResponse.SERVING
    return "serving" if serving else "starting"


def _health(service: ServiceState) -> Health:
    if service.state != "running" or find(service.process) is None:
        return "crashed"
    return check_health(service.address)


def _launch(folder: RunFolder) -> subprocess.Popen[bytes]:
    folder.logs.mkdir(parents=True, exist_ok=True)
    with folder.log("supervisor").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "assay_cli.supervisor.daemon", str(folder.home)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=dict(os.environ),
        )


def _wait(
    folder: RunFolder,
    supervisor: subprocess.Popen[bytes] | None,
    timeout: float,
    report: Callable[[list[ServiceStatus]], None],
) -> StackState:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if supervisor is not None and supervisor.poll() is not None:
            raise _failed(folder, "supervisor", describe_exit(supervisor.returncode))
        found = status(folder)
        report(found)
        for each in found:
            if each.health != "serving" and each.service.restarts >= _HOPELESS_RESTARTS:
                code = each.service.exit_code
                raise _failed(folder, each.service.name, describe_exit(code or 0))
        state = folder.read()
        if state is not None and found and all(each.health == "serving" for each in found):
            return state
        time.sleep(_POLL_SECONDS)
    late = [each.service.name for each in status(folder) if each.health != "serving"]
    raise DeadlineExceeded(
        f"{', '.join(late) or 'the supervisor'} did not answer within {timeout:.0f} s",
        reason="START_TIMEOUT",
        remedy=f"see {folder.logs}, or raise ASSAY_CLI_START_TIMEOUT_SECONDS; "
        "`assay doctor` checks the installation",
    )


def _failed(folder: RunFolder, name: str, what: str) -> FailedPrecondition:
    log = folder.log(name)
    lines = "\n".join(f"    {line}" for line in tail(log))
    text = "\n".join(tail(log, lines=40))
    remedy = next(
        (advice for sign, advice in _REMEDIES.items() if sign in text),
        f"see {log}; `assay doctor` checks the installation",
    )
    return FailedPrecondition(
        f"{name} does not start: it {what}. End of its log:\n{lines}",
        reason="SERVICE_FAILED",
        remedy=remedy,
        resource=f"service/{name}",
    )


# What the end of a log gives away.
_REMEDIES = {
    "ModuleNotFoundError": "the environment is incomplete: run `make setup`",
    "No such file or directory": "the environment is incomplete: run `make setup`",
    "ADDRESS_IN_USE": "another program took the port: run `assay up` again, or set ASSAY_CLI_PORTS",
    "cannot listen on": "another program took the port: run `assay up` again, or set "
    "ASSAY_CLI_PORTS",
    "No space left on device": "free disk space, or set ASSAY_HOME to another disk",
    "Cannot allocate memory": "free memory: `assay doctor` says how much is needed",
    "INVALID_SETTINGS": "correct the setting that the log names",
}
