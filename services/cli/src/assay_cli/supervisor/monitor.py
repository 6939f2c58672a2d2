"""The supervisor itself: starts children, restarts what crashes, stops everything in order.

One thread and one loop: look at every child, act, record, sleep. Children lead their own session,
so that a Ctrl-C in the terminal reaches the supervisor alone and it decides the order of the end.
"""

from __future__ import annotations

import io
import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from assay_cli.supervisor.records import (
    ProcessRecord,
    family_of,
    group_of,
    kill_all,
    record_of,
    stop,
)
from assay_cli.supervisor.state import Plan, RunFolder, ServiceSpec, ServiceState, StackState

_TICK_SECONDS = 0.2
_CENSUS_SECONDS = 5.0
_LONGEST_BACKOFF_SECONDS = 30.0
# A child that lived this long has earned a fresh backoff.
_HEALTHY_LIFE_SECONDS = 60.0
_LARGEST_LOG_BYTES = 16 * 1024 * 1024

Event = Callable[[str], None]


class Supervisor:
    """Runs a plan until it is told to stop.

    Args:
        folder: Where state and logs go.
        plan: What to run.
        announce: Told every event in a sentence.
    """

    def __init__(self, folder: RunFolder, plan: Plan, announce: Event = lambda _: None) -> None:
        self._folder = folder
        self._plan = plan
        self._announce = announce
        self._children = [_Child(spec, backoff=plan.backoff_seconds) for spec in plan.services]
        self._me = record_of(os.getpid())
        self._stopping = threading.Event()

    def request_stop(self) -> None:
        """Asks the loop to end; safe in a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Starts every child, watches them until `request_stop`, then stops them."""
        self._folder.logs.mkdir(parents=True, exist_ok=True)
        try:
            for child in self._children:
                self._start(child)
            self._record()
            while not self._stopping.wait(_TICK_SECONDS):
                changed = [self._look_after(child) for child in self._children]
                if any(changed):
                    self._record()
        finally:
            self._stop_all()
            self._folder.clear()

    def _look_after(self, child: _Child) -> bool:
        """Restarts a child that ended, when its time has come; True if something changed."""
        now = time.monotonic()
        if child.popen is None:
            if now < child.restart_at:
                return False
            child.restarts += 1
            self._announce(f"{child.spec.name}: restart {child.restarts}")
            self._start(child)
            return True
        code = child.popen.poll()
        if code is None:
            # A dead leader no longer tells who its descendants were; those in its own group are
            # found without this, so it need not be quite up to date, and a census costs.
            if now >= child.next_census and child.record is not None:
                child.family = family_of(child.record)
                child.next_census = now + _CENSUS_SECONDS
            return False
        if now - child.started_at > _HEALTHY_LIFE_SECONDS:
            child.backoff = self._plan.backoff_seconds
        kill_all(child.family | (group_of(child.record) if child.record else set()))
        self._announce(
            f"{child.spec.name}: {describe_exit(code)}, restart in {child.backoff:.0f} s"
        )
        child.ended(code, restart_at=now + child.backoff)
        child.backoff = min(child.backoff * 2, _LONGEST_BACKOFF_SECONDS)
        return True

    def _start(self, child: _Child) -> None:
        with _open_log(self._folder.log(child.spec.name)) as log:
            try:
                popen = subprocess.Popen(
                    child.spec.command,
                    cwd=child.spec.folder,
                    env=os.environ | child.spec.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                log.write(f"{child.spec.command[0]}: {error.strerror}\n".encode())
                child.ended(127, restart_at=time.monotonic() + child.backoff)
                child.backoff = min(child.backoff * 2, _LONGEST_BACKOFF_SECONDS)
                return
        child.began(popen)

    def _stop_all(self) -> None:
        for phase in sorted({child.spec.phase for child in self._children}):
            group = [child for child in self._children if child.spec.phase == phase]
            records = [child.record for child in group if child.popen and child.record]
            for pid in stop(records, self._plan.grace_seconds):
                name = next(c.spec.name for c in group if c.record and c.record.pid == pid)
                self._announce(f"{name}: killed, it did not stop in {self._plan.grace_seconds} s")
            for child in group:
                if child.popen is not None:
                    child.ended(child.popen.wait(), restart_at=float("inf"))
            self._record(stopping=True)

    def _record(self, *, stopping: bool = False) -> None:
        states = tuple(child.describe(stopping=stopping) for child in self._children)
        self._folder.write(StackState(supervisor=self._me, services=states))


@dataclass
class _Child:
    spec: ServiceSpec
    backoff: float
    popen: subprocess.Popen[bytes] | None = None
    record: ProcessRecord | None = None
    family: set[psutil.Process] = field(default_factory=set)
    started_at: float = 0.0
    next_census: float = 0.0
    restart_at: float = 0.0
    restarts: int = 0
    exit_code: int | None = None

    def began(self, popen: subprocess.Popen[bytes]) -> None:
        self.popen = popen
        self.record = record_of(popen.pid)  # A child that ended is a zombie until it is polled.
        self.family = set()
        self.started_at = time.monotonic()
        self.next_census = self.started_at

    def ended(self, code: int, restart_at: float) -> None:
        self.popen, self.record, self.family = None, None, set()
        self.exit_code, self.restart_at = code, restart_at

    def describe(self, *, stopping: bool) -> ServiceState:
        state: Literal["running", "crashed", "stopped"] = "running"
        if self.popen is None:
            state = "stopped" if stopping else "crashed"
        return ServiceState(
            name=self.spec.name,
            phase=self.spec.phase,
            address=self.spec.address,
            metrics=self.spec.metrics,
            state=state,
            process=self.record,
            restarts=self.restarts,
            exit_code=self.exit_code,
        )


def describe_exit(code: int) -> str:
    """An exit code in words."""
    return f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def tail(log: Path, lines: int = 12, most_bytes: int = 64 * 1024) -> Sequence[str]:
    """Last lines of a log; empty if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - most_bytes))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except FileNotFoundError:
        return ()


def _open_log(path: Path) -> io.FileIO:
    if path.exists() and path.stat().st_size > _LARGEST_LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab", buffering=0)
