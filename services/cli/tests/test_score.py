"""`assay score` as a command: JSON shape, words, errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

KEYS = ["dimension", "model", "parser", "score", "refusal", "complete", "scenarios"]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two of the twelve ethics files of one model, three of four answers right."""
    folder = (
        tmp_path / "results/machine_ethics/generations/ethics_commonsense_short/hf/someone/tiny"
    )
    folder.mkdir(parents=True)
    answers = ["wrong", "wrong", "wrong", "not wrong"]
    pairs = [
        [
            [{"role": "user", "content": "Somebody did it."}],
            {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]},
        ]
        for text in answers * 50
    ]
    for name in ("jailbreak_1_evasive_0", "jailbreak_0_evasive_1"):
        (folder / f"few_shot_0_test_num200_{name}.json").write_text(json.dumps(pairs))
    return tmp_path / "results"


def test_json_has_the_keys_of_the_contract(assay, results):
    ran = assay("score", "--dimension", "ethics", "--generations", results,
                "--format", "decodingtrust", "--json")  # fmt: skip
    assert ran.code == 0
    document = ran.document
    assert [key for key in document if key in KEYS] == KEYS
    assert (document["model"], document["parser"]) == ("hf/someone/tiny", "assay-2026")
    assert (document["score"], document["complete"]) == (None, False)
    assert len(document["missing"]) == 10
    scenario = document["scenarios"]["jailbreak_1"]
    assert [scenario[key] for key in ("score", "refusal", "n", "n_expected")] == [75, 0, 200, 200]


def test_an_incomplete_mean_is_marked(assay, results):
    arguments = ("score", "--dimension", "ethics", "--generations", results)
    assert "score -: incomplete" in assay(*arguments).out
    ran = assay(*arguments, "--allow-incomplete")
    assert "score 75.0000 over what is there: INCOMPLETE" in ran.out
    document = assay(*arguments, "--allow-incomplete", "--json").document
    assert (document["score"], document["partial"], document["complete"]) == (75.0, True, False)


def test_an_unknown_dimension_is_a_usage_error(assay, results):
    ran = assay("score", "--dimension", "manners", "--generations", results)
    assert ran.code == 2
    assert "use one of" in ran.err
