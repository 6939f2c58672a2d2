"""What is left of a lost Ray: whoever writes into its folder, and nobody else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from assay_serving.leftovers import end_writers

WAIT = "import sys; f = open(sys.argv[1], sys.argv[2]); print(flush=True); sys.stdin.read()"


def holding(file: Path, mode: str) -> subprocess.Popen[bytes]:
    """A process that has the file open; in a session of its own, as Ray's are."""
    process = subprocess.Popen(
        [sys.executable, "-c", WAIT, str(file), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_writers_into_a_folder_are_ended_and_readers_and_writers_elsewhere_are_not(tmp_path):
    session = tmp_path / "ray" / "session" / "logs"
    session.mkdir(parents=True)
    writer = holding(session / "agent.log", "a")
    others = [holding(session / "agent.log", "r"), holding(tmp_path / "ray.log", "w")]
    try:
        with (session / "driver.log").open("w"):
            assert end_writers(tmp_path / "ray") == 1
        assert writer.poll() is not None
        assert [other.poll() for other in others] == [None, None]
        assert end_writers(tmp_path / "ray") == 0
    finally:
        for process in (writer, *others):
            process.communicate()
