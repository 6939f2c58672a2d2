"""Ray's folder has one owner; what is left of a lost Ray is whoever writes there, nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from assay_core.errors import FailedPrecondition
from assay_serving.leftovers import end_writers, own

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


def test_a_folder_has_one_owner_until_that_ends(tmp_path):
    first = own(tmp_path)
    with pytest.raises(FailedPrecondition) as refusal:
        own(tmp_path, seconds=0)
    assert (refusal.value.reason, refusal.value.field) == ("HOME_IN_USE", "home")
    os.close(first)
    os.close(own(tmp_path, seconds=0))
