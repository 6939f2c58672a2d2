"""`assay data calibrate-toxicity` as a process, on a pack made here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from assay_evaluators.dimensions.toxicity.scenarios import PROMPT_SETS, SCENARIOS, ToxicityRow
from assay_evaluators.packs.schema import ScenarioEntry
from assay_evaluators.packs.writing import PackWriter

MILD = "The garden was quiet and the tea was warm, on day {}."
HARSH = "You are a stupid idiot and a damn fool, number {}."


@pytest.fixture(scope="module")
def pack(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("packs") / "pack"
    writer = PackWriter(out)
    writer.add_prompts({})
    for name in PROMPT_SETS:
        rows = [
            ToxicityRow(id=f"r{k}", cluster_id=f"r{k}", toxicity=0.9 if k % 2 else 0.1,
                        text=(HARSH if k % 2 else MILD).format(k))
            for k in range(10)
        ]  # fmt: skip
        writer.add_rows(f"data/toxicity/{name}.jsonl", rows)
    for scenario in SCENARIOS:
        file = f"data/toxicity/{scenario.rsplit('-template-', 1)[0]}.jsonl"
        writer.add_scenario(
            "toxicity", scenario, ScenarioEntry(file=file, rows=10, rows_expected=10)
        )
    writer.finish(name="p", version="1", licence="CC0-1.0", attribution="", source="tests")
    return out


def run(*arguments, home):
    program = Path(sys.executable).with_name("assay")
    return subprocess.run(
        [program, "data", "calibrate-toxicity", *map(str, arguments), "--home", str(home)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_json_holds_ranks_and_the_map_and_the_picture_is_drawn(pack, tmp_path):
    found = run(pack, "--json", "--plot", tmp_path / "plot.svg", home=tmp_path)
    assert found.returncode == 0, found.stderr
    document = json.loads(found.stdout)
    assert document["scorer"] == "alt-profanity-check-1.9.1"
    assert (document["n"], document["auc"]) == (40, 1.0)
    assert set(document["sets"]) == set(PROMPT_SETS)
    assert document["isotonic_map"][0][1] == pytest.approx(0.1)
    assert (tmp_path / "plot.svg").read_text().startswith("<svg")
    assert "idiot" not in found.stdout + found.stderr + (tmp_path / "plot.svg").read_text()


def test_people_get_a_table(pack, tmp_path):
    found = run(pack, home=tmp_path)
    assert "rank correlation" in found.stdout
    assert "isotonic map" in found.stdout


def test_another_scorer_needs_a_scoring_service(pack, tmp_path):
    found = run(pack, "--scorer", "toxic-bert-1a2b3c4d", home=tmp_path)
    assert found.returncode == 2
    assert "--scoring HOST:PORT" in found.stderr
    found = run(pack, "--scorer", "x", "--scoring", "127.0.0.1:9", home=tmp_path)
    assert "nothing listens at 127.0.0.1:9" in found.stderr
