"""The first step of a job: a private copy of the checkpoint's files. No tensor library needed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from assay_compression.checkpoint.errors import MODEL_FIELD
from assay_compression.checkpoint.scan import FileFacts
from assay_core.errors import FailedPrecondition

FILES = "files"
LAYERS = "layers"
_MARKER = "copied"


def copy_checkpoint(
    source: Path, facts: dict[str, FileFacts], directory: Path, *, fingerprint: str
) -> Path:
    """Copies the files to `directory/files`, unless an earlier run of this job has.

    Args:
        source: The checkpoint.
        facts: Its files as they were when the job was accepted.
        directory: The job's working directory.
        fingerprint: What layers depend on beside model, recipe and calibration; what an earlier
            run with another one left is discarded.

    Returns:
        The directory of the copies.

    Raises:
        FailedPrecondition: If a file has changed since the job was accepted.
    """
    files, marker = directory / FILES, directory / _MARKER
    # Publication takes the files away by a rename; a crash right after it leaves the marker alone.
    if not (files.is_dir() and marker.is_file() and marker.read_text() == fingerprint):
        marker.unlink(missing_ok=True)
        shutil.rmtree(files, ignore_errors=True)
        shutil.rmtree(directory / LAYERS, ignore_errors=True)
        files.mkdir(parents=True)
        (directory / LAYERS).mkdir()
        try:
            for name in facts:
                shutil.copyfile(source / name, files / name)
                sync(files / name)
        except OSError:
            # Half a copy resumes nothing, and on a full disk others need its room.
            shutil.rmtree(files)
            raise
    check_unchanged(source, facts)
    marker.write_text(fingerprint)
    return files


def check_unchanged(source: Path, facts: dict[str, FileFacts]) -> None:
    """Refuses a checkpoint that is not what the job was accepted for.

    Raises:
        FailedPrecondition: Names the file that has changed.
    """
    for name, fact in facts.items():
        if not (source / name).is_file() or not fact.is_current(source / name):
            raise FailedPrecondition(
                f"file {name} of the checkpoint changed after the job was accepted",
                field=MODEL_FIELD,
                reason="CHECKPOINT_CHANGED",
                remedy="create the variant again",
                metadata={"file": name},
            )


def sync(path: Path) -> None:
    """Makes what was written to a file survive a crash of the machine."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
