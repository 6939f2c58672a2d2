"""A real Postgres server of its own in a temporary folder, for tests."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
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


class Server:
    """A server that can be stopped and started again."""

    def __init__(self, binaries: Path, folder: Path, user: str | None) -> None:
        self._binaries = binaries
        self._folder = folder
        self._user = user
        self._environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        self._process: subprocess.Popen | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"postgresql://assay@127.0.0.1:{self._port}/postgres"
        self._run(
            "initdb", "-U", "assay", "-A", "trust", "--no-sync", "--encoding", "UTF8",
            "--locale", "C",
        ).wait(60)  # fmt: skip

    def start(self) -> None:
        """Start, and wait until it answers."""
        self._process = self._run(
            "postgres", "-p", str(self._port), "-k", str(self._folder),
            "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
        )  # fmt: skip
        _until_it_answers(self._port, self._folder / "log")

    def stop(self) -> None:
        """End it at once, as when its pod is deleted: every connection breaks."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    def _run(self, program: str, *arguments: str) -> subprocess.Popen:
        command = [self._binaries / program, "-D", self._folder / "data", *arguments]
        if self._user is not None:
            # Not Popen's `user`: it forks with gRPC's handlers, and beside gRPC's threads the
            # child may hang before it runs the program.
            command = ["setpriv", f"--reuid={self._user}", "--clear-groups", *command]
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, env=self._environment, cwd=self._folder
            )


@contextmanager
def running():
    """A server that runs; skips with the reason where there is no Postgres."""
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
    try:
        found = Server(binaries, folder, user)
        try:
            found.start()
            yield found
        finally:
            found.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def server():
    """URL of an empty database; skips with the reason where there is no Postgres."""
    with running() as found:
        yield found.url


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
