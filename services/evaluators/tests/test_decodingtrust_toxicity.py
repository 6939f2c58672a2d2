"""Toxicity from real data: counts, prompts against an independent rendering, stored toxicity."""

from __future__ import annotations

import json

import pytest
from test_decodingtrust import golden, plan, rendered

from assay_core.errors import DataLoss
from assay_evaluators.dimensions.toxicity.scenarios import SCENARIOS, ToxicityRow
from assay_evaluators.packs.decodingtrust import import_decodingtrust
from assay_evaluators.packs.loading import Pack

FOLDER = "data/toxicity/user_prompts"
GENERATED = "n=25.out1.split.annotated.jsonl.filtered.jsonl"
FILES = {
    "toxic": "toxic.jsonl",
    "nontoxic": "nontoxic.jsonl",
    "toxic-gpt3.5": f"toxic.jsonl.gpt3.{GENERATED}",
    "toxic-gpt4": f"toxic.jsonl.gpt4.{GENERATED}",
}


def test_rows_found_are_those_of_the_specification(imported):
    found = {s.scenario: s.rows for s in imported[0].scenarios if s.dimension == "toxicity"}
    counts = {"toxic": 1196, "nontoxic": 1200, "toxic-gpt3.5": 1200, "toxic-gpt4": 1200}
    assert found == {f"{name}-template-{t}": n for name, n in counts.items() for t in (0, 1)}
    assert all(s.is_whole for s in imported[0].scenarios if s.dimension == "toxicity")


def test_prompts_equal_an_independent_rendering(imported, decodingtrust):
    p = json.loads((decodingtrust / "prompts.json").read_text())["toxicity"]
    planned = {s.name: s for s in plan(imported[1], "toxicity").scenarios}
    assert tuple(planned) == SCENARIOS
    for name in SCENARIOS:
        prompt_set, _, template = name.rpartition("-template-")
        texts = p["template_0_benign" if template == "0" else "template_1_adversarial"]
        lines = (decodingtrust / FOLDER / FILES[prompt_set]).read_text().splitlines()
        turns = (
            [["system", texts["system"]], ["user", f"{texts['task']}\n{text}"]]
            for text in (json.loads(line)["prompt"]["text"] for line in lines)
        )
        assert rendered(planned[name]) == golden(turns), name


def test_rows_are_keyed_by_position_because_texts_repeat(imported):
    rows = imported[1].rows("data/toxicity/toxic-gpt3.5.jsonl", ToxicityRow)
    assert len({row.id for row in rows}) == 1200
    assert len({row.text for row in rows}) == len({row.cluster_id for row in rows}) == 1195


def test_every_prompt_carries_the_stored_perspective_value(imported):
    rows = [
        row
        for name in FILES
        for row in imported[1].rows(f"data/toxicity/{name}.jsonl", ToxicityRow)
    ]
    assert len(rows) == 4796
    assert all(row.toxicity is not None for row in rows)
    # Not every "toxic" prompt is above 0.5.
    toxic = imported[1].rows("data/toxicity/toxic.jsonl", ToxicityRow)
    assert 0 < sum((row.toxicity or 0) <= 0.5 for row in toxic) < len(toxic)


@pytest.fixture
def checkout(tmp_path, decodingtrust):
    root = tmp_path / "checkout"
    (root / FOLDER).mkdir(parents=True)
    (root / "prompts.json").write_bytes((decodingtrust / "prompts.json").read_bytes())
    (root / FOLDER / "toxic.jsonl").write_bytes(
        (decodingtrust / FOLDER / "toxic.jsonl").read_bytes()
    )
    return root


def test_absent_files_are_reported_scenario_by_scenario(checkout, tmp_path):
    report = import_decodingtrust(checkout, tmp_path / "out", ("toxicity",))
    missing = {s.scenario: s.missing for s in report.scenarios}
    assert missing["toxic-template-0"] is None
    assert "nontoxic.jsonl is not in the checkout" in missing["nontoxic-template-1"]


@pytest.mark.parametrize(
    "line",
    ['{"prompt": {"toxicity": 0.5}}', '{"prompt": {"text": "a", "toxicity": 2}}',
     '{"prompt": "a"}', '{"prompt": {"text": "a", "score": []}}', '[]'],
)  # fmt: skip
def test_a_broken_row_is_named_by_file_and_line(line, checkout, tmp_path):
    path = checkout / FOLDER / "toxic.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[3:]]))
    with pytest.raises(DataLoss, match=r"toxic\.jsonl:3: "):
        import_decodingtrust(checkout, tmp_path / "out", ("toxicity",))


def test_a_null_toxicity_is_kept_as_none(checkout, tmp_path):
    path = checkout / FOLDER / "toxic.jsonl"
    path.write_text('{"prompt": {"text": "a", "toxicity": null}}\n')
    import_decodingtrust(checkout, tmp_path / "out", ("toxicity",))
    rows = Pack.open(str(tmp_path / "out")).rows("data/toxicity/toxic.jsonl", ToxicityRow)
    assert rows[0].toxicity is None
