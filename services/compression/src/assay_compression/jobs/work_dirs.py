"""Working directories of jobs: who holds one, and how one that nobody needs goes away."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(work_dir: Path) -> Iterator[None]:
    """Holds the directory for this process; waits for another one that is still ending."""
    work_dir.mkdir(parents=True, exist_ok=True)
    with _lock_file(work_dir).open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def discard(work_dir: Path) -> None:
    """Deletes the directory, unless a worker holds it."""
    if not work_dir.is_dir():
        return
    with _lock_file(work_dir).open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(work_dir, ignore_errors=True)


def _lock_file(work_dir: Path) -> Path:
    return work_dir.with_suffix(".lock")
