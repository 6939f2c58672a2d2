"""The importer on real data, and prompts against an independent rendering of it."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay_core.errors import DataLoss, NotFound
from assay_evaluators.packs.decodingtrust import import_decodingtrust
from assay_evaluators.sdk.dimension import dimension_names, load_dimension
from assay_evaluators.sdk.plan import make_plan
from assay_evaluators.sdk.spec import Engine, Spec, Subject
from assay_evaluators.sdk.types import Sample

ADULT = ("zero_shot_br_0.0", "zero_shot_br_0.5", "zero_shot_br_1.0", "few_shot_tr_br_0.0",
         "few_shot_tr_br_0.5", "few_shot_tr_br_1.0", "few_shot_16_fair_demon",
         "few_shot_32_fair_demon")  # fmt: skip
CRIME = ("crime_br_0.0", "crime_br_0.5", "crime_br_1.0")
PUSHED = tuple(f"{kind}_{k}" for kind in ("jailbreak", "evasive") for k in range(1, 6))
# The counts of the specification, section 0.6.
COUNTS = {
    **{("stereotype", name): 1152 for name in ("benign", "untargeted", "targeted")},
    **{("fairness", name): 200 for name in ADULT},
    **{("fairness", name): 300 for name in CRIME},
    ("ethics", "zero_shot"): 2109,
    **{("ethics", name): 200 for name in PUSHED},
}
# Rows by (sensitive, label), section 3.1: F0, F1, M0, M1.
CELLS = {
    "zero_shot_br_0.0": (50, 50, 50, 50),
    "zero_shot_br_0.5": (75, 25, 25, 75),
    "zero_shot_br_1.0": (100, 0, 0, 100),
    "few_shot_tr_br_0.0": (50, 50, 50, 50),
    "few_shot_tr_br_0.5": (50, 50, 50, 50),
    "few_shot_tr_br_1.0": (50, 50, 50, 50),
    "few_shot_16_fair_demon": (75, 25, 25, 75),
    "few_shot_32_fair_demon": (75, 25, 25, 75),
}


def plan(pack, dimension, scenarios=(), **changes):
    engine = Engine(family="x", version="1", dtype="x", kv_cache_dtype="x", max_model_len=1,
                    device_class="cpu")  # fmt: skip
    subject = Subject(artifact_digest="sha256:" + "0" * 64, engine=engine, tokenizer_digest="",
                      chat_template_digest="")  # fmt: skip
    spec = Spec(dimension=dimension, pack_uri="", pack_digest=pack.digest, subject=subject,
                scenarios=scenarios, **changes)  # fmt: skip
    return make_plan(load_dimension(dimension), pack, spec)


def test_rows_found_are_those_of_the_specification(imported, decodingtrust):
    report, _ = imported
    here = {dimension for dimension, _ in COUNTS}
    reports = [s for s in report.scenarios if s.dimension in here]
    found = {(s.dimension, s.scenario): s.rows for s in reports if s.rows}
    train = (decodingtrust / "data/machine_ethics/ethics/commonsense/cm_train.csv").exists()
    assert found == COUNTS | ({("ethics", "few_shot"): 2109} if train else {})
    if not train:
        (gap,) = [s for s in reports if not s.is_whole]
        assert (gap.scenario, gap.rows, gap.rows_expected) == ("few_shot", 0, 2109)
        assert "cm_train.csv" in gap.missing


def test_the_imported_pack_verifies_and_is_not_for_display(imported):
    _, pack = imported
    pack.verify()
    assert pack.manifest.display == "deny"
    assert "DecodingTrust" in pack.manifest.attribution


def test_ethics_labels(imported):
    samples = plan(imported[1], "ethics", ("zero_shot",)).scenarios[0].samples
    assert [sum(s.label == label for s in samples) for label in "01"] == [1126, 983]


@pytest.mark.parametrize("scenario", CELLS)
def test_fairness_groups_and_labels(scenario, imported):
    samples = plan(imported[1], "fairness", (scenario,)).scenarios[0].samples
    cells = [sum((s.group, s.label) == (g, y) for s in samples) for g in "01" for y in "01"]
    assert tuple(cells) == CELLS[scenario]


def test_the_sensitive_attribute_of_crime_is_its_label(imported):
    for scenario in plan(imported[1], "fairness", CRIME).scenarios:
        assert all(sample.group == sample.label for sample in scenario.samples)
        assert sum(sample.label == "1" for sample in scenario.samples) == 180


def test_stereotype_statements_share_a_cluster_over_system_prompts(imported):
    scenarios = plan(imported[1], "stereotype").scenarios
    clusters = [[sample.cluster_id for sample in scenario.samples] for scenario in scenarios]
    assert clusters[0] == clusters[1] == clusters[2]
    assert len(set(clusters[0])) == 1152
    cells = {(sample.group, sample.topic) for sample in scenarios[0].samples}
    assert len(cells) == 24 * 16


# -- golden prompts: rendered here once more, from the raw files -----------------------------------
def golden(conversations) -> str:
    digest = hashlib.sha256()
    for turns in conversations:
        digest.update(json.dumps(turns, ensure_ascii=False).encode())
    return digest.hexdigest()


def rendered(scenario) -> str:
    return golden([[m.role, m.content] for m in sample.messages] for sample in scenario.samples)


def stereotype_turns(root, prompts, scenario):
    p = prompts["stereotype"]
    with (root / "data/stereotype/dataset/user_prompts.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            group = row["target_group"]
            shown = group if group in p["proper_noun_groups"] else group.lower()
            yield [
                ["system", p[f"system_{scenario}"].replace("[target_group]", shown)],
                ["user", p["task_description"] + "\n" + row["user_prompt"]],
            ]


def fairness_turns(root, prompts, scenario):
    name = prompts["fairness"]["result_file_to_sensitive_attribute_file"][f"{scenario}.json"]
    stem = name.removesuffix(".npy").replace("sensitive_attr_", "").replace("gt_labels_", "")
    task = prompts["fairness"]["task_line_" + ("crime" if "crime" in scenario else "adult")]
    for line in (root / f"data/fairness/fairness_data/{stem}.jsonl").open():
        row = json.loads(line)
        if not row["examples"]:
            yield [
                ["system", prompts["chat"]["system_zero_shot"]],
                ["user", f"{task}\n{row['input']}"],
            ]
            continue
        turns = [["system", prompts["chat"]["system_few_shot_example_prefix"] + task]]
        for text, label in row["examples"]:
            turns += [["user", text], ["assistant", label[0].upper() + label[1:].lower()]]
        yield [*turns, ["user", row["input"]]]


def ethics_turns(root, prompts, scenario):
    p = prompts["machine_ethics"]
    kind, _, number = scenario.rpartition("_")
    sentence = p[f"{kind}_sentences"][int(number) - 1] if scenario in PUSHED else ""
    task = p["task_line"] + (sentence if kind == "jailbreak" else "")
    left = 200
    with (root / "data/machine_ethics/ethics/commonsense/cm_test.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            if row["is_short"] != "True" or (scenario in PUSHED and row["label"] != "1"):
                continue
            if scenario in PUSHED and (left := left - 1) < 0:
                return
            text = row["input"] + (sentence if kind == "evasive" else "") + p["input_suffix"]
            yield [
                ["system", prompts["chat"]["system_zero_shot"]],
                ["user", f"{task}\n{text}"],
            ]


@pytest.mark.parametrize(
    ("dimension", "turns"),
    [("stereotype", stereotype_turns), ("fairness", fairness_turns), ("ethics", ethics_turns)],
)
def test_prompts_equal_an_independent_rendering(dimension, turns, imported, decodingtrust):
    prompts = json.loads((decodingtrust / "prompts.json").read_text())
    scenarios = [name for d, name in COUNTS if d == dimension]
    planned = {s.name: s for s in plan(imported[1], dimension, tuple(scenarios)).scenarios}
    for name in scenarios:
        assert rendered(planned[name]) == golden(turns(decodingtrust, prompts, name)), name


def test_published_system_prompts_equal_those_of_prompts_json(imported):
    stereotype = plan(imported[1], "stereotype").scenarios
    task = stereotype[0].samples[0].messages[1].content
    # The instruction stands twice, as in the original.
    assert task.count("Here is my statement") == 2


def test_ethics_few_shot_is_a_function_of_item_and_seed(mini_pack):
    first, again = (plan(mini_pack, "ethics", ("few_shot",)) for _ in range(2))
    limited = plan(mini_pack, "ethics", ("few_shot",), row_limit=3)
    other = plan(mini_pack, "ethics", ("few_shot",), seed=1)
    by_id = {sample.id: sample.messages for sample in first.scenarios[0].samples}
    assert [s.messages for s in again.scenarios[0].samples] == list(by_id.values())
    assert all(by_id[s.id] == s.messages for s in limited.scenarios[0].samples)
    assert all(by_id[s.id] != s.messages for s in other.scenarios[0].samples)
    turns = next(iter(by_id.values()))
    # System, task line, acknowledgement, 32 demonstrations of two turns, the item.
    assert [m.role for m in turns[:3]] == ["system", "user", "assistant"]
    assert len(turns) == 3 + 2 * 32 + 1
    assert {m.content for m in turns[4:-1:2]} <= {"Wrong", "Not wrong"}
    assert len({m.content for m in turns[3:-1:2]}) == 32


def test_generation_identity_ignores_row_limit_and_sees_everything_else(mini_pack):
    def digest(**changes):
        return plan(mini_pack, "ethics", ("zero_shot",), **changes).scenarios[0].generation_digest

    assert digest() == digest(row_limit=3)
    assert len({digest(), digest(seed=1), digest(sampling_profile="paper")}) == 3


# -- real phrase lists -----------------------------------------------------------------------------
@pytest.fixture(scope="session")
def real_parsers(imported):
    """Every parser with the real phrase lists, with its value function and a sample."""
    prompts = imported[1].prompts()
    dimensions = [load_dimension(name) for name in dimension_names()]
    return [
        (version.build(prompts), version.value, Sample(d.scenarios[0], "s", "s", (), label="0"))
        for d in dimensions
        for version in d.parsers
    ]


@given(st.text())
def test_no_parser_raises_with_the_real_phrase_lists(real_parsers, text):
    for parse, value, sample in real_parsers:
        value(parse(text, sample, 0), sample)


# -- sources that are broken or cut ----------------------------------------------------------------
@pytest.fixture
def checkout(tmp_path, decodingtrust) -> Path:
    """A writable copy with one fairness file, the ethics file and no stereotype."""
    root = tmp_path / "checkout"
    for path in (
        "prompts.json",
        "data/machine_ethics/ethics/commonsense/cm_test.csv",
        "data/fairness/fairness_data/adult_0_200_test_base_rate_0.0.jsonl",
        "data/fairness/fairness_data/sensitive_attr_adult_0_200_test_base_rate_0.0.npy",
    ):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((decodingtrust / path).read_bytes())
    return root  # fmt: skip


def test_absent_and_cut_files_are_reported_with_the_reason(checkout, tmp_path):
    lines = checkout / "data/fairness/fairness_data/adult_0_200_test_base_rate_0.0.jsonl"
    lines.write_text("".join(lines.open().readlines()[:40]))
    array = lines.with_name("sensitive_attr_adult_0_200_test_base_rate_0.0.npy")
    np.save(array, np.load(array)[:40])
    report = import_decodingtrust(checkout, tmp_path / "out")
    by_name = {(s.dimension, s.scenario): s for s in report.scenarios}
    cut = by_name["fairness", "zero_shot_br_0.0"]
    assert (cut.rows, cut.rows_expected, cut.sample) == (40, 200, True)
    assert "user_prompts.csv" in by_name["stereotype", "benign"].missing
    assert "crime_0_300" in by_name["fairness", "crime_br_0.0"].missing


def test_training_rows_bring_few_shot(checkout, tmp_path):
    folder = checkout / "data/machine_ethics/ethics/commonsense"
    (folder / "cm_train.csv").write_bytes((folder / "cm_test.csv").read_bytes())
    report = import_decodingtrust(checkout, tmp_path / "out")
    few_shot = next(s for s in report.scenarios if s.scenario == "few_shot")
    assert (few_shot.rows, few_shot.missing) == (2109, None)


def test_a_pickled_array_is_refused_and_nothing_is_written(checkout, tmp_path):
    array = checkout / (
        "data/fairness/fairness_data/sensitive_attr_adult_0_200_test_base_rate_0.0.npy"
    )
    np.save(array, np.array([object()], dtype=object), allow_pickle=True)
    with pytest.raises(DataLoss, match="pickles are not read"):
        import_decodingtrust(checkout, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_broken_source_row_is_named(checkout, tmp_path):
    path = checkout / "data/fairness/fairness_data/adult_0_200_test_base_rate_0.0.jsonl"
    path.write_text(path.read_text().replace('"input"', '"inputs"', 1))
    with pytest.raises(DataLoss, match=r"base_rate_0\.0\.jsonl:1"):
        import_decodingtrust(checkout, tmp_path / "out")


def test_a_large_file_pointer_counts_as_absent(checkout, tmp_path):
    path = checkout / "data/machine_ethics/ethics/commonsense/cm_train.csv"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    report = import_decodingtrust(checkout, tmp_path / "out")
    assert next(s for s in report.scenarios if s.scenario == "few_shot").rows == 0


def test_what_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(NotFound, match="data/"):
        import_decodingtrust(tmp_path, tmp_path / "out")
