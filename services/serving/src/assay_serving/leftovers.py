"""Processes of a Ray that was lost: some outlive it, and hold ports that the next Ray needs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

END_SECONDS = 10.0


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
