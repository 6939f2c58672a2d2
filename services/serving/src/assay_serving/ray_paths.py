"""Where Ray keeps its session: under our home, or in a short private folder."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

# A Unix socket path holds 107 bytes, and Ray appends
# /session_YYYY-MM-DD_HH-MM-SS_UUUUUU_PPPPPPP/sockets/plasma_store (about 66) to its folder.
LONGEST = 40


def ray_directory(home: Path) -> Path:
    """The folder for Ray's session files, made for this user only."""
    directory = home.resolve() / "run" / "ray"
    if len(os.fsencode(directory)) > LONGEST:
        name = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:8]
        directory = Path(tempfile.gettempdir()) / f"assay-{os.getuid()}-{name}"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if directory.stat().st_uid != os.getuid():
        raise PermissionError(f"{directory} belongs to another user")
    return directory
