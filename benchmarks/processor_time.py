"""Processor seconds of the processes below some roots, by what they are."""

from __future__ import annotations

import contextlib
import os
from collections import Counter

import psutil

ROLES = (
    ("VLLM::Worker", "worker"),
    ("VLLM::EngineCore", "engine core"),
    ("ray::ServeReplica", "replica"),
    ("assay_serving.ray_host", "Ray's process"),
    ("assay_serving.main", "gateway"),
    ("offline_engine.py", "offline"),
)
"""What a command line has in it, and what the process is then; the rest below is Ray's own."""


class ProcessorTime:
    """Seconds of processor time by role, of this process and all below it.

    Threads of processes that ended before a reading are missing in it: read around work during
    which none ends.
    """

    def __init__(self) -> None:
        self._last = self._read()

    def since_last(self) -> Counter[str]:
        """Seconds by role since the last call, or since this was made."""
        now = self._read()
        spent = Counter({role: now[role] - self._last[role] for role in now})
        self._last = now
        return spent

    def _read(self) -> Counter[str]:
        here = psutil.Process()
        seconds: Counter[str] = Counter()
        for process in (here, *here.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                seconds[_role(process)] += times.user + times.system
        return seconds


def _role(process: psutil.Process) -> str:
    if process.pid == os.getpid():
        return "client"
    command = " ".join(process.cmdline())
    return next((role for part, role in ROLES if part in command), "Ray")
