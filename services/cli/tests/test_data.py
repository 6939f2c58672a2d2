"""`assay data import-mmlu` and `check` as commands."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest


@pytest.fixture
def mmlu(tmp_path: Path) -> Path:
    """One subject in the layout of MMLU's archive."""
    folder = tmp_path / "mmlu"
    for split, size in (("dev", 5), ("test", 3)):
        (folder / split).mkdir(parents=True)
        with (folder / split / f"anatomy_{split}.csv").open("w", newline="") as stream:
            rows = [[f"Which is {k}?", "a", "b", "c", "d", "ABCD"[k % 4]] for k in range(size)]
            csv.writer(stream).writerows(rows)
    return folder


def test_mmlu_becomes_a_pack_that_checks_and_says_what_is_missing(assay, mmlu, tmp_path):
    texts = tmp_path / "texts.jsonl"
    texts.write_text(json.dumps({"text": "A tale."}) + "\n")
    ran = assay("data", "import-mmlu", mmlu, "--heldout", texts, "--out", tmp_path / "a", "--json")
    assert ran.code == 0
    assert ran.document["complete"] is False
    rows = {each["scenario"]: each["rows"] for each in ran.document["scenarios"]}
    assert rows == {"mmlu": 3, "mmlu_likelihood": 3, "perplexity": 1}
    assert "3 of 14042 questions" in ran.document["scenarios"][0]["missing"]
    checked = assay("data", "check", tmp_path / "a", "--json")
    assert checked.document["digest"] == ran.document["digest"]
    assert checked.document["rows"]["utility"] == 3 + 3 + 1


def test_a_pack_with_another_as_base_has_both(assay, mmlu, tmp_path):
    assert assay("data", "import-mmlu", mmlu, "--out", tmp_path / "a").code == 0
    ran = assay("data", "import-mmlu", mmlu, "--base", tmp_path / "a", "--out", tmp_path / "b")
    assert ran.code == 0
    assert assay("data", "check", tmp_path / "b").code == 0


def test_what_is_no_mmlu_is_an_error_with_a_remedy(assay, tmp_path):
    ran = assay("data", "import-mmlu", tmp_path, "--out", tmp_path / "a")
    assert ran.code == 2
    assert "data folder of MMLU" in ran.err
    assert not (tmp_path / "a").exists()
