"""Ray's folder has one owner, who ends what a lost Ray left: it holds ports that the next needs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from assay_core.errors import FailedPrecondition

END_SECONDS = 10.0
OWNER_SECONDS = 30.0
"""Longest wait for the owner before: one that has lost its gateway takes some seconds to end."""


def own(directory: Path, seconds: float = OWNER_SECONDS) -> int:
    """Become the owner of Ray's folder until this process ends. Blocks while there is another.

    Returns:
        The open file that says so; closing it gives the folder up.

    Raises:
        FailedPrecondition: Another server with the same home runs Ray there.
    """
    descriptor = os.open(directory / "owner.lock", os.O_RDWR | os.O_CREAT, 0o600)
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                os.close(descriptor)
                raise FailedPrecondition(
                    "another server with the same home runs Ray",
                    reason="HOME_IN_USE",
                    field="home",
                    remedy="stop it, or start this one with a home of its own",
                ) from None
            time.sleep(0.1)
        else:
            return descriptor


def end_writers(directory: Path) -> int:
    """Kill the processes of this user, but this one, that write into files of a directory.

    Every process of a Ray writes its log into the folder of its session. Names and environments
    tell less: Ray's agents overwrite both. Whoever only reads is left alone.

    Returns:
        How many there were.
    """
    found = list(_writers(directory.resolve()))
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(found, timeout=END_SECONDS)
    return len(found)


def _writers(directory: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        # Processes of others, and ones that end while we look, are nobody's leftovers.
        with contextlib.suppress(psutil.Error):
            if process.pid == os.getpid() or process.uids().real != os.getuid():
                continue
            if any(
                file.mode != "r" and Path(file.path).is_relative_to(directory)
                for file in process.open_files()
            ):
                yield process
