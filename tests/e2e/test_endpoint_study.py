"""A study over an external endpoint: our own HTTP door, behind which the demo model is resident."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import BEHIND_DOOR
from tests.e2e.stack import ROOT, Stack

pytestmark = [pytest.mark.engine, pytest.mark.compression, pytest.mark.slow]

ALONE = """
name: the demo model by its engine
models: [demo]
recipes: [dense]
dimensions: [ethics, utility]
pack: demo
row_limit: 3
"""
WITH_ENDPOINT = ALONE.replace("[demo]", "[demo, 'endpoint:%s']")
NO_LIKELIHOOD = "needs log-probabilities, which an external endpoint does not give"


def run(stack: Stack, folder: Path, text: str, *options: str) -> Any:
    file = folder / "study.yaml"
    file.write_text(text)
    return stack.assay("study", "run", "-f", file, *options)


def load_behind_the_door(stack: Stack, folder: Path) -> None:
    """The demo model's weights as a checkpoint with a name for the door."""
    copy = folder / "artifacts" / BEHIND_DOOR
    shutil.copytree(ROOT / "models" / "demo" / "model", copy)
    ran = stack.assay("model", "load", copy.as_uri())
    assert ran.code == 0, ran.err + stack.logs()


def test_an_endpoint_with_the_same_weights_does_not_differ(stack: Stack, tmp_path: Path) -> None:
    """The engine answers first and its answers are stored; then the door's model is loaded."""
    assert run(stack, tmp_path, ALONE).code == 0
    load_behind_the_door(stack, tmp_path)
    ran = run(stack, tmp_path, WITH_ENDPOINT % "own-door", "--json")
    assert ran.code == 0, ran.err + stack.logs()
    keys = [variant["key"] for variant in ran.document["study"]["variants"]]
    assert keys == ["demo/dense/seed0", "endpoint:own-door/dense/seed0"]
    whole = {
        each["dimension"]: each for each in ran.document["comparisons"] if not each.get("scenario")
    }
    assert set(whole) == {"ethics", "utility"}
    for each in whole.values():
        assert (each["variant_key"], each["reference_key"]) == (keys[1], keys[0])
        assert each["n_pairs"] > 0
        # Greedy texts of equal weights are equal, so no sample is lost or won.
        assert (each["difference"], each.get("lost", 0), each.get("won", 0)) == (0, 0, 0)
        assert any("family is external" in note for note in each["notes"])
    identifier = ran.document["study"]["meta"]["id"]
    report = json.loads(stack.assay("report", identifier, "--format", "json", "-o", "-").out)
    (gap,) = [each["why"] for each in report["not_run"] if each["what"] == "parts of utility"]
    assert NO_LIKELIHOOD in gap


def test_a_dry_run_shows_what_an_endpoint_cannot_do(stack: Stack, tmp_path: Path) -> None:
    ran = run(stack, tmp_path, WITH_ENDPOINT % "own-door", "--dry-run")
    assert ran.code == 0, ran.err
    assert "none: an endpoint" in ran.out
    assert f"utility/perplexity: {NO_LIKELIHOOD}" in " ".join(ran.out.split())


def test_an_unknown_endpoint_is_refused_with_those_there_are(stack: Stack, tmp_path: Path) -> None:
    ran = run(stack, tmp_path, WITH_ENDPOINT % "elsewhere")
    assert ran.code == 2
    message = " ".join(ran.err.split())
    assert "elsewhere" in message
    assert "own-door" in message
