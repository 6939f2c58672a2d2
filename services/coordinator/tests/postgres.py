"""A real Postgres server of its own in a temporary folder, for tests."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest


def programs() -> Path | None:
    """Folder of initdb and postgres, newest version first."""
    on_path = shutil.which("initdb")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    return Path(on_path).parent if on_path else (found[0].parent if found else None)


@contextmanager
def server():
    """URL of an empty database; skips with the reason where there is no Postgres."""
    binaries = programs()
    if binaries is None:
        reason = "no Postgres server programs; install Debian's package `postgresql`"
        if "postgres" in os.environ.get("ASSAY_REQUIRE", "").split(","):
            pytest.fail(f"ASSAY_REQUIRE asks for postgres: {reason}")
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="assay-pg-"))
    user = None  # Postgres refuses to run as root
    if os.getuid() == 0:
        user = "postgres" if _exists("postgres") else "nobody"
        shutil.chown(folder, user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    try:
        subprocess.run(
            [
                binaries / "initdb", "-D", data, "-U", "assay", "-A", "trust", "--no-sync",
                "--encoding", "UTF8", "--locale", "C",
            ],
            check=True, capture_output=True, user=user, env=environment, cwd=folder,
        )  # fmt: skip
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    binaries / "postgres", "-D", data, "-p", str(port), "-k", folder,
                    "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
                ],
                stdout=log, stderr=log, user=user, env=environment, cwd=folder,
            )  # fmt: skip
        try:
            _until_it_answers(port, folder / "log")
            yield f"postgresql://assay@127.0.0.1:{port}/postgres"
        finally:
            process.terminate()
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _exists(user: str) -> bool:
    try:
        return bool(pwd.getpwnam(user))
    except KeyError:
        return False


def _until_it_answers(port: int, log: Path) -> None:
    import psycopg

    end = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(f"postgresql://assay@127.0.0.1:{port}/postgres", connect_timeout=2)
            return
        except psycopg.OperationalError:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
