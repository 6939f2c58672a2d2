"""How files become visible on a local file system: finished beside their place, then renamed."""

from __future__ import annotations

import errno
import shutil
import uuid
from pathlib import Path


def partial_of(target: Path) -> Path:
    """A fresh hidden name beside `target` to write to; `is_partial` knows it again."""
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")


def publish_directory(partial: Path, target: Path) -> bool:
    """Renames a finished directory into place; False if another writer was first."""
    try:
        partial.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        return False
    return True


def move_or_copy(source: Path, target: Path, *, move: bool) -> None:
    """Brings a directory to `target`, by rename where that is wanted and possible."""
    if move:
        try:
            source.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:  # Another file system: only a copy gets there.
                raise
        else:
            return
    shutil.copytree(source, target)


def is_partial(key: str) -> bool:
    """Whether a path belongs to a write that has not finished, or was killed."""
    return any(part.startswith(".") and part.endswith(".partial") for part in key.split("/"))
