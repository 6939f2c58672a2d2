"""Bad input to real services: a canonical error with field or file and remedy, soon, no harm."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.stack import ROOT, Stack

pytestmark = [pytest.mark.engine, pytest.mark.compression, pytest.mark.slow]


def refused(ran: Any, code: str, *words: str) -> dict[str, Any]:
    """Checks that a command was refused as every error is, and returns the error."""
    assert ran.code == 2, ran.out + ran.err
    error: dict[str, Any] = json.loads(ran.out)["error"]
    assert error["code"] == code, error
    text = json.dumps(error)
    for word in words:
        assert word in text, f"{word} is not named in {text}"
    assert error["remedy"] or error["violations"] or error["next"], error
    assert "Traceback" not in ran.err
    return error


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy of the demo model to spoil."""
    (config,) = (ROOT / "models" / "demo").rglob("config.json")
    copy = tmp_path / "checkpoint"
    shutil.copytree(config.parent, copy)
    return copy


def compress(stack: Stack, model: object, recipe: str = "{gptq: {bits: 3}}") -> Any:
    return stack.assay("compress", model, "--recipe", recipe, "--json")


def test_an_unknown_recipe_field(stack: Stack) -> None:
    ran = compress(stack, "demo", "{gptq: {bits: 3, bitz: 1}}")
    refused(ran, "INVALID_ARGUMENT", "recipe.gptq.bitz")


def test_bits_that_there_are_not(stack: Stack) -> None:
    refused(compress(stack, "demo", "{gptq: {bits: 5}}"), "INVALID_ARGUMENT", "recipe.gptq.bits")


def test_a_missing_model(stack: Stack, tmp_path: Path) -> None:
    refused(compress(stack, tmp_path / "nowhere"), "NOT_FOUND", "model.uri")
    refused(compress(stack, "no-such-name"), "NOT_FOUND", "model.uri")


def test_a_checkpoint_with_pickled_weights(stack: Stack, checkpoint: Path) -> None:
    for weights in checkpoint.glob("*.safetensors"):
        weights.unlink()
    (checkpoint / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": [0.0]}))
    refused(compress(stack, checkpoint), "FAILED_PRECONDITION", "NO_SAFETENSORS", "safetensors")


def test_a_corrupt_safetensors_file(stack: Stack, checkpoint: Path) -> None:
    weights = next(checkpoint.glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[:64] = b"\xff" * 64
    weights.write_bytes(bytes(data))
    ran = compress(stack, checkpoint)
    assert ran.code == 2, ran.out
    error = json.loads(ran.out)["error"]
    assert weights.name in json.dumps(error), error
    assert error["code"] in ("INVALID_ARGUMENT", "DATA_LOSS"), error


def test_a_pack_with_a_broken_row(stack: Stack, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    shutil.copytree(ROOT / "packs" / "demo", pack)
    rows = next((pack / "data" / "ethics").glob("zero_shot*.jsonl"))
    lines = rows.read_text().splitlines()
    lines[2] = '{"id": "x"}'
    rows.write_text("\n".join(lines) + "\n")
    where = f"{rows.relative_to(pack)}"
    refused(stack.assay("data", "check", pack, "--json"), "INVALID_ARGUMENT", f"{where}:3")
    refused(_study(stack, tmp_path, pack), "INVALID_ARGUMENT", f"{where}:3")


def test_what_is_stored_is_unharmed(stack: Stack) -> None:
    listed = stack.assay("variants", "list", "--json")
    assert listed.code == 0
    assert stack.assay("status").code == 0
    for each in listed.document["variants"]:
        assert stack.assay("variants", "show", each["meta"]["id"]).code == 0


def _study(stack: Stack, folder: Path, pack: Path) -> Any:
    file = folder / "study.yaml"
    file.write_text(
        f"name: broken row\nmodels: [demo]\nrecipes: [dense]\ndimensions: [ethics]\npack: {pack}\n"
    )
    return stack.assay("study", "run", "-f", file, "--json")
