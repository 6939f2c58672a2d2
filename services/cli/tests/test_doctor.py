"""`assay doctor` on installations broken in one way each: what it names, and the remedy."""

import json
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose four programs run: stand-ins beside this interpreter, which has the code."""
    root = tmp_path / "checkout"
    for folder, name in (
        (".venv", "assay-coordinator"),
        (".venv", "assay-evaluator"),
        (".venvs/serving", "assay-serving"),
        (".venvs/compression", "assay-compression"),
    ):
        place = root / folder / "bin"
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("#!/bin/sh\n")
        (place / name).chmod(0o755)
    (root / "models/demo/model").mkdir(parents=True)
    (root / "models/demo/model/model.safetensors").write_bytes(b"")
    shutil.copytree(ROOT / "packs/demo", root / "packs/demo")
    monkeypatch.setenv("ASSAY_CLI_ROOT", str(root))
    return root


def findings(ran: Any) -> dict[str, dict[str, str]]:
    return {each["what"]: each for each in ran.document["findings"]}


def test_a_whole_installation_has_no_problem(assay: Any, checkout: Path) -> None:
    ran = assay("doctor", "--json")
    problems = [f for f in findings(ran).values() if f["grade"] == "problem"]
    assert (problems, ran.code) == ([], 0)


def test_an_environment_that_was_not_made_is_named(assay: Any, checkout: Path) -> None:
    shutil.rmtree(checkout / ".venvs/serving")
    ran = assay("doctor", "--json")
    assert ran.code == 2
    found = findings(ran)["serving"]
    assert found["grade"] == "problem"
    assert "make setup" in found["remedy"]
    assert findings(ran)["compression"]["grade"] == "ok"


def test_an_environment_that_lacks_our_package_does_not_run(assay: Any, checkout: Path) -> None:
    # An interpreter without site packages, as after half an installation.
    python = checkout / ".venvs/compression/bin/python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    found = findings(assay("doctor", "--json"))["compression"]
    assert found["grade"] == "problem"
    assert "package assay_compression is missing" in found["found"]
    assert found["remedy"] == "run `make clean setup`"


def test_a_damaged_demo_pack_and_missing_weights_are_warnings(assay: Any, checkout: Path) -> None:
    (checkout / "packs/demo/pack.json").write_text("{")
    (checkout / "models/demo/model/model.safetensors").unlink()
    found = findings(assay("doctor", "--json"))
    assert (found["demo pack"]["grade"], found["demo model"]["grade"]) == ("warning", "warning")
    assert found["demo pack"]["remedy"] == "git checkout packs/demo"
    assert "make demo-model" in found["demo model"]["remedy"]


def test_a_home_that_is_a_file_is_a_problem(
    assay: Any, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "file"
    home.write_text("")
    monkeypatch.setenv("ASSAY_HOME", str(home))
    ran = assay("doctor", "--json")
    found = findings(ran)["home"]
    assert (found["grade"], ran.code) == ("problem", 2)
    assert "ASSAY_HOME" in found["remedy"]


def test_a_fixed_port_that_is_taken_is_a_problem(
    assay: Any, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("ASSAY_CLI_PORTS", json.dumps({"coordinator": port}))
        ran = assay("doctor", "--json")
    found = findings(ran)["ports"]
    assert (found["grade"], ran.code) == ("problem", 2)
    assert f"port {port} of coordinator is taken" in found["found"]


def test_up_says_that_its_home_is_a_file(
    assay: Any, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "file"
    home.write_text("")
    monkeypatch.setenv("ASSAY_HOME", str(home))
    ran = assay("up")
    assert ran.code == 2
    assert "no folder" in ran.err
    assert "ASSAY_HOME" in ran.err
