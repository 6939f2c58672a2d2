"""The client in Go: stubs from the protos, compiled, and a study run with it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.stack import ROOT, Stack

pytestmark = [pytest.mark.engine, pytest.mark.compression, pytest.mark.slow]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled client; stubs go to a copy, the checkout stays as it is."""
    for needed in ("go", "protoc-gen-go", "protoc-gen-go-grpc"):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not on PATH")
    root = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "protos", root / "protos")
    folder = root / "examples" / "go"
    shutil.copytree(ROOT / "examples" / "go", folder, ignore=shutil.ignore_patterns("gen"))
    buf = str(Path(sys.executable).parent / "buf")
    for command in (
        [buf, "generate", "--template", "buf.gen.yaml"],
        ["go", "vet", "."],
        ["go", "build", "-o", "client", "."],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder / "client"


def test_a_client_in_another_language_needs_nothing_but_the_protos(
    stack: Stack, program: Path
) -> None:
    done = subprocess.run(
        [program, "-server", stack.service("coordinator").address],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ethics" in done.stdout.splitlines()[-1]
