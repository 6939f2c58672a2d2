"""Process identity: a pid means nothing without the time its process started.

Nothing is ever signalled by pid alone: the kernel reuses pids, and a pid file outlives its process.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Sequence

import psutil
from pydantic import BaseModel, ConfigDict

# Start times are read with clock-tick resolution; a pid is not reused this fast.
_START_TOLERANCE_SECONDS = 1.0
_POLL_SECONDS = 0.05


class ProcessRecord(BaseModel):
    """A process as written to disk.

    Attributes:
        pid: Process id; children of the supervisor lead their own session and group of this id.
        started: Start time in seconds since the epoch.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pid: int
    started: float


def record_of(pid: int) -> ProcessRecord:
    """Records a running process.

    Raises:
        psutil.NoSuchProcess: If it is gone already.
    """
    return ProcessRecord(pid=pid, started=psutil.Process(pid).create_time())


def find(record: ProcessRecord | None) -> psutil.Process | None:
    """The recorded process if it still runs; None if it ended or its pid is another's now."""
    if record is None:
        return None
    try:
        process = psutil.Process(record.pid)
        same = abs(process.create_time() - record.started) <= _START_TOLERANCE_SECONDS
        running = same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if running else None


def stop(records: Sequence[ProcessRecord], grace: float) -> list[int]:
    """Ends recorded processes and their groups: SIGTERM, `grace` seconds, then SIGKILL.

    Only the leader is asked first, because it knows in which order its own children should go.
    What is left of its group and of its descendants after that is ours as well and is killed.

    Returns:
        Pids of the leaders that had to be killed.
    """
    leaders = [process for process in map(find, records) if process is not None]
    family = {leader.pid: _family(leader) for leader in leaders}
    for leader in leaders:
        _signal(leader, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and any(_runs(leader) for leader in leaders):
        time.sleep(_POLL_SECONDS)
        # Children born during the drain count too.
        for leader in leaders:
            family[leader.pid] |= _family(leader)
    killed = [leader.pid for leader in leaders if _runs(leader)]
    for leader in leaders:
        kill_all({leader} | family[leader.pid])
    return killed


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """Kills processes found earlier; psutil compares start times again before it signals."""
    for process in processes:
        _signal(process, signal.SIGKILL)


def family_of(record: ProcessRecord) -> set[psutil.Process]:
    """Descendants and group members of a live recorded process, without itself."""
    leader = find(record)
    return _family(leader) if leader is not None else set()


def group_of(record: ProcessRecord) -> set[psutil.Process]:
    """What is left of the group of a process that has just ended.

    A pid is not reused while it is still the id of a group, so these are the dead leader's own.
    """
    found = set()
    for process in psutil.process_iter():
        try:
            member = process.pid != record.pid and os.getpgid(process.pid) == record.pid
            if member and process.create_time() >= record.started - _START_TOLERANCE_SECONDS:
                found.add(process)
        except (psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            continue
    return found


def _family(leader: psutil.Process) -> set[psutil.Process]:
    try:
        found = set(leader.children(recursive=True))
        if os.getpgid(leader.pid) != leader.pid:
            return found
        return found | group_of(ProcessRecord(pid=leader.pid, started=leader.create_time()))
    except (psutil.NoSuchProcess, ProcessLookupError):
        return set()


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return
