"""What keeps Assay from working on this machine, one check per function."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil

from assay_cli.packs import pack_digest
from assay_cli.settings import CliSettings
from assay_cli.supervisor.control import status, supervisor_runs
from assay_cli.supervisor.stack import HOST, choose_ports, installed_dimensions, program
from assay_cli.supervisor.state import RunFolder
from assay_core.errors import AssayError

Grade = Literal["ok", "warning", "problem"]

_GIB = 1024**3
_LEAST_DISK_GIB = 5
_LEAST_MEMORY_GIB = 8
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (Ray keeps its objects there)
_LEAST_SHARED_MEMORY_GIB = 0.5
_PROBE_TIMEOUT_SECONDS = 60.0
_PROGRAMS = ("coordinator", "evaluator", "compression", "serving")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    grade: Grade
    what: str
    found: str
    remedy: str = ""

    def document(self) -> dict[str, str]:
        """For `--json`."""
        return asdict(self)


def examine(settings: CliSettings) -> list[Finding]:
    """Runs every check; none of them changes anything."""
    return [finding for check in _CHECKS for finding in check(settings)]


def _python(_settings: CliSettings) -> Iterator[Finding]:
    found = f"{sys.version_info.major}.{sys.version_info.minor} at {sys.prefix}"
    right = sys.version_info[:2] == (3, 11)
    yield Finding(
        "ok" if right else "warning", "python", found, "" if right else "Assay is tested on 3.11"
    )


def _environments(settings: CliSettings) -> Iterator[Finding]:
    for name in _PROGRAMS:
        try:
            (path,) = program(settings, name)
        except AssayError as error:
            yield Finding("problem", name, error.message, error.remedy or "")
            continue
        problem = _probe(Path(path))
        if problem:
            yield Finding(
                "problem", name, f"{path} does not run: {problem}", "run `make clean setup`"
            )
        else:
            yield Finding("ok", name, path)


def _dimensions(_settings: CliSettings) -> Iterator[Finding]:
    names = installed_dimensions()
    if names:
        yield Finding("ok", "evaluators", ", ".join(names))
    else:
        yield Finding("problem", "evaluators", "no dimension is installed", "run `make setup`")


def _demo(settings: CliSettings) -> Iterator[Finding]:
    weights = settings.root / "models" / "demo"
    if any(weights.rglob("*.safetensors")):
        yield Finding("ok", "demo model", str(weights))
    else:
        yield Finding("warning", "demo model", f"no weights under {weights}", "run make demo-model")
    pack = settings.root / "packs" / "demo"
    try:
        digest = pack_digest(str(pack))
    except AssayError as error:
        yield Finding("warning", "demo pack", error.message, "git checkout packs/demo")
    else:
        yield Finding("ok", "demo pack", f"{pack} {digest[:19]}")


def _home(settings: CliSettings) -> Iterator[Finding]:
    existing = next(each for each in (settings.home, *settings.home.parents) if each.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        yield Finding(
            "problem",
            "home",
            f"{existing} is not writable" if existing.is_dir() else f"{existing} is no folder",
            "set ASSAY_HOME to a folder of yours",
        )
        return
    free = shutil.disk_usage(existing).free / _GIB
    yield _at_least(
        "home", f"{settings.home}, {free:.0f} GiB free", free, _LEAST_DISK_GIB, "free disk"
    )


def _memory(_settings: CliSettings) -> Iterator[Finding]:
    free = psutil.virtual_memory().available / _GIB
    yield _at_least("memory", f"{free:.1f} GiB available", free, _LEAST_MEMORY_GIB, "free memory")
    if _SHARED_MEMORY.is_dir():
        shared = shutil.disk_usage(_SHARED_MEMORY).free / _GIB
        yield _at_least(
            "shared memory",
            f"{shared:.1f} GiB free in {_SHARED_MEMORY}",
            shared,
            _LEAST_SHARED_MEMORY_GIB,
            "in a container, start it with --shm-size=2g",
        )


def _services(settings: CliSettings) -> Iterator[Finding]:
    folder = RunFolder(settings.home)
    try:
        found = status(folder)
    except AssayError as error:
        yield Finding("problem", "services", error.message, error.remedy or "")
        return
    if not found:
        yield from _ports(settings)
        return
    if not supervisor_runs(folder):
        yield Finding(
            "warning",
            "services",
            "their supervisor is gone: none is restarted",
            "assay down && assay up",
        )
    for each in found:
        good = each.health == "serving"
        log = folder.log(each.service.name)
        yield Finding(
            "ok" if good else "problem",
            each.service.name,
            f"{each.health} at {each.service.address}, restarts {each.service.restarts}",
            "" if good else f"see {log}",
        )


def _ports(settings: CliSettings) -> Iterator[Finding]:
    yield Finding("ok", "services", "nothing is up", "assay up starts them")
    names = ("coordinator", "compression", "serving")
    try:
        chosen = choose_ports(names, {k: v for k, v in settings.ports.items() if k in names})
    except AssayError as error:
        yield Finding("problem", "ports", error.message, error.remedy or "")
        return
    text = ", ".join(f"{name} {HOST}:{ports[0]}" for name, ports in chosen.items())
    yield Finding("ok", "ports", f"free: {text}")


def _probe(path: Path) -> str:
    """Runs a service's interpreter on one import of its package; the last line of what failed."""
    python = path.parent / "python"
    if not python.exists():
        return ""  # A program of the user's own.
    package = path.name.replace("-", "_").replace("evaluator", "evaluators")
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    try:
        done = subprocess.run(
            [str(python), "-c", code],
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or [f"package {package} is missing"])[-1]


def _at_least(what: str, found: str, value: float, least: float, remedy: str) -> Finding:
    if value >= least:
        return Finding("ok", what, found)
    return Finding("warning", what, f"{found}, {least} GiB wanted", remedy)


_CHECKS: tuple[Callable[[CliSettings], Iterator[Finding]], ...] = (
    _python,
    _environments,
    _dimensions,
    _demo,
    _home,
    _memory,
    _services,
)
