"""Which processes make a local stack, with which programs and addresses."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path

from assay_cli.settings import CliSettings
from assay_cli.supervisor.state import Plan, ServiceSpec
from assay_core.errors import FailedPrecondition, InvalidArgument
from assay_core.settings import METRICS_PORT_OFFSET

HOST = "127.0.0.1"
DIMENSIONS_GROUP = "assay.dimensions"
EVALUATOR_PREFIX = "evaluator-"

_PORTS = {"coordinator": 7400, "compression": 7401, "serving": 7402}
_FIRST_EVALUATOR_PORT = 7410
# Clients stop before what they call, so that a drain can still hand work back.
_PHASES = {"coordinator": 0, "compression": 2, "serving": 2}
_EVALUATOR_PHASE = 1


def installed_dimensions() -> list[str]:
    """Dimensions whose evaluator is installed here, sorted."""
    return sorted({point.name for point in entry_points(group=DIMENSIONS_GROUP)})


def local_stack(settings: CliSettings, dimensions: Iterable[str] | None = None) -> Plan:
    """Lays out a stack: programs that exist and ports that are free.

    Raises:
        FailedPrecondition: If an environment is missing or a fixed port is taken.
        InvalidArgument: If `ports` names a service that there is not.
    """
    found = installed_dimensions() if dimensions is None else sorted(dimensions)
    programs = {name: program(settings, name) for name in _PORTS}
    evaluator = program(settings, "evaluator") if found else ()
    names = (*_PORTS, *(EVALUATOR_PREFIX + dimension for dimension in found))
    ports = choose_ports(names, settings.ports)

    def spec(
        name: str,
        command: tuple[str, ...],
        phase: int,
        environment: Mapping[str, str] | None = None,
    ) -> ServiceSpec:
        address, metrics = (f"{HOST}:{port}" for port in ports[name])
        common = ("--listen", address, "--metrics-listen", metrics)
        return ServiceSpec(
            name=name,
            phase=phase,
            command=(*command, *common),
            # Shipped models and packs are named relative to the checkout.
            folder=settings.root,
            environment={"ASSAY_HOME": str(settings.home), **(environment or {})},
            address=address,
            metrics=metrics,
        )

    serving = f"{HOST}:{ports['serving'][0]}"
    evaluators = {each: f"{HOST}:{ports[EVALUATOR_PREFIX + each][0]}" for each in found}
    peers = {
        "ASSAY_COORDINATOR_COMPRESSION": f"{HOST}:{ports['compression'][0]}",
        "ASSAY_COORDINATOR_SERVING": serving,
        "ASSAY_COORDINATOR_EVALUATORS": json.dumps(evaluators),
    }
    packs = {}
    if "ASSAY_EVALUATOR_PACKS" not in os.environ:
        packs["ASSAY_EVALUATOR_PACKS"] = json.dumps({"demo": str(settings.root / "packs" / "demo")})
    services = [spec(name, programs[name], _PHASES[name]) for name in ("compression", "serving")]
    services += [
        spec(
            EVALUATOR_PREFIX + each,
            (*evaluator, "--dimension", each, "--serving", serving),
            _EVALUATOR_PHASE,
            packs,
        )
        for each in found
    ]
    services.append(spec("coordinator", programs["coordinator"], _PHASES["coordinator"], peers))
    return Plan(services=tuple(services), grace_seconds=settings.grace_seconds)


def choose_ports(names: Iterable[str], fixed: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Picks the gRPC and the metrics port of every service.

    A fixed port must be free; a usual one (7400, ...) that is taken gives way to a free one.

    Raises:
        FailedPrecondition: If a fixed port is taken.
        InvalidArgument: If `fixed` names no service.
    """
    names = list(names)
    if unknown := sorted(set(fixed) - set(names)):
        raise InvalidArgument.of(
            f"ports.{unknown[0]}", "is not a service", remedy=f"use one of {', '.join(names)}"
        )
    chosen: dict[str, tuple[int, int]] = {}
    taken = set(fixed.values())
    next_evaluator = _FIRST_EVALUATOR_PORT
    for name in names:
        usual = _PORTS.get(name, next_evaluator)
        next_evaluator += name not in _PORTS
        port = fixed.get(name, usual)
        if name in fixed:
            if not _is_free(port):
                raise FailedPrecondition(
                    f"port {port} of {name} is taken",
                    field=f"ports.{name}",
                    reason="ADDRESS_IN_USE",
                    remedy="stop what listens there, or give the service another port",
                )
        elif port in taken or not _is_free(port):
            port = _free_port(taken)
        metrics = port + METRICS_PORT_OFFSET
        if metrics > 65535 or metrics in taken or not _is_free(metrics):
            metrics = _free_port(taken | {port})
        taken |= {port, metrics}
        chosen[name] = (port, metrics)
    return chosen


def program(settings: CliSettings, name: str) -> tuple[str, ...]:
    """The program of `coordinator`, `compression`, `serving` or `evaluator`.

    Raises:
        FailedPrecondition: If it is not there.
    """
    beside = Path(sys.executable).parent
    named: dict[str, tuple[Path | None, Path]] = {
        "compression": (
            settings.compression_command,
            settings.root / ".venvs" / "compression" / "bin" / "assay-compression",
        ),
        "serving": (
            settings.serving_command,
            settings.root / ".venvs" / "serving" / "bin" / "assay-serving",
        ),
        "evaluator": (settings.evaluator_command, beside / "assay-evaluator"),
        "coordinator": (settings.coordinator_command, beside / "assay-coordinator"),
    }
    given, default = named[name]
    program = given or default
    if not program.is_file():
        raise FailedPrecondition(
            f"the program of {name} is missing: {program}",
            field=f"{name}_command",
            reason="ENVIRONMENT_MISSING",
            remedy=f"run `make setup`, or set ASSAY_CLI_{name.upper()}_COMMAND",
        )
    return (str(program),)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers bind: a port in TIME_WAIT is free, one with a listener is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _free_port(taken: set[int]) -> int:
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port
