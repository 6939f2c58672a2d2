"""A stack of real services in a temporary home, as the tests handle it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assay_cli.supervisor.state import RunFolder, ServiceState

ROOT = Path(__file__).parents[2]
ASSAY = Path(sys.executable).parent / "assay"
TIMEOUT_SECONDS = 840


@dataclass(frozen=True)
class Ran:
    """A command that ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Stack:
    """The services of one temporary home, and the command to talk to them."""

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def assay(self, *arguments: object, stdin: str | None = None) -> Ran:
        began = time.monotonic()
        done = subprocess.run(
            [str(ASSAY), *map(str, arguments)],
            env=os.environ | {"ASSAY_HOME": str(self.home)} | dict(self.environment),
            cwd=ROOT,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(ASSAY), *map(str, arguments)],
            env=os.environ | {"ASSAY_HOME": str(self.home)} | dict(self.environment),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def service(self, name: str) -> ServiceState:
        state = RunFolder(self.home).read()
        assert state is not None, "nothing is up"
        return next(each for each in state.services if each.name == name)

    def kill(self, name: str) -> None:
        """Ends a service as a power cut would: SIGKILL to it and what it started."""
        process = self.service(name).process
        assert process is not None, f"{name} does not run"
        os.kill(process.pid, 9)

    def logs(self) -> str:
        files = sorted((self.home / "logs").rglob("*.log"))
        return "\n".join(
            f"== {each.name}\n" + each.read_text(errors="replace")[-3000:] for each in files
        )


def eventually(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.2)
