"""AdvGLUE, OOD and adversarial demonstrations from real data: counts, prompts, broken sources."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_decodingtrust import golden, plan, rendered

from assay_core.errors import DataLoss
from assay_evaluators.packs.decodingtrust import import_decodingtrust
from assay_evaluators.packs.loading import Pack
from assay_evaluators.sdk.dimension import load_dimension

STYLES = ("shake_w", "augment", "shake_p0", "shake_p0.6", "bible_p0", "bible_p0.6", "romantic_p0",
          "romantic_p0.6", "tweet_p0", "tweet_p0.6")  # fmt: skip
OWN = ("shake_p0.6", "bible_p0.6", "romantic_p0.6", "tweet_p0.6")
DOMAINS = ("global_facts", "machine_learning", "moral_scenarios", "us_foreign_policy")
# Scenario -> rows in the file of test items, and the set of demonstrations, section 6.
OOD = {
    **{name: (name, None) for name in ("base", *STYLES)},
    **{f"{s}_base_{run}": (s, f"base_{run}") for s in ("base", *OWN) for run in range(3)},
    **{f"{s}_{s}_{run}": (s, f"{s}_{run}") for s in OWN for run in range(3)},
    **{f"{qa}{idk}": (qa, None) for qa in ("qa_2020", "qa_2023") for idk in ("", "_idk")},
    **{
        f"qa_2020_{domain}_{run}": ("qa_2020", f"{domain}_{run}")
        for domain in ("2021_qa", *DOMAINS)
        for run in range(3)
    },
}
DEV = {"sst2": 148, "qqp": 78, "mnli": 121, "mnli-mm": 162, "qnli": 148, "rte": 81}
KEYS = {"sst2": ["sentence"], "qqp": ["question1", "question2"], "mnli": ["premise", "hypothesis"],
        "mnli-mm": ["premise", "hypothesis"], "qnli": ["question", "sentence"],
        "rte": ["sentence1", "sentence2"]}  # fmt: skip
SETS = {
    **{f"counterfactual_{s}_cf": (f"counterfactual/{s}_cf", size) for s, size in {
        "snli_premise": 400, "snli_hypothesis": 400, "control_raising": 1000,
        "irregular_form": 1000, "main_verb": 1000, "syntactic_category": 1000}.items()},
    **{f"backdoor_{setup}_{attack}_{kind}":
       (f"backdoor/experiment1/sst-2_{setup}_{attack}_{kind}", size)
       for setup in ("setup1", "setup2", "setup3")
       for attack in ("badword", "addsent", "synbkd", "stylebkd")
       for kind, size in (("asr", 428), ("cacc", 872))},
}  # fmt: skip
SEEDS = (42, 2333, 10007)


def reports(imported, dimension):
    return {s.scenario: s for s in imported[0].scenarios if s.dimension == dimension}


# -- what an import finds --------------------------------------------------------------------------
def test_every_task_of_ood_is_there_whole(imported):
    sizes = {"qa_2020": 855, "qa_2023": 263}
    found = reports(imported, "ood")
    assert {name: (s.rows, s.missing) for name, s in found.items()} == {
        name: (sizes.get(task, 872), None) for name, (task, _) in OOD.items()
    }


def test_the_scored_tasks_of_ood_are_those_of_the_specification(imported):
    found = reports(imported, "ood")
    scored = load_dimension("ood").default_metric.scenarios
    assert len(scored) == 10 + 12 + 2 + 12
    # Section 0.6: 10 x 872 + 12 x 872 + 263 x 2 + 12 x 855.
    assert sum(found[name].rows for name in scored) == 29_970


def test_advglue_dev_is_whole_and_advglue_plus_plus_is_the_users(imported):
    found = reports(imported, "advglue")
    assert {name: s.rows for name, s in found.items() if s.rows} == {
        f"dev_{task}": size for task, size in DEV.items()
    }
    absent = [s for s in found.values() if not s.rows]
    assert len(absent) == 9
    assert all("the user supplies it" in s.missing for s in absent)


def test_cut_sets_are_samples_and_spurious_sets_are_absent_with_the_reason(imported, decodingtrust):
    found = reports(imported, "adv_demonstration")
    for name, (folder, size) in SETS.items():
        files = [decodingtrust / f"data/adv_demonstration/{folder}/{seed}.jsonl" for seed in SEEDS]
        rows = sum(len(file.read_text().splitlines()) for file in files)
        report = found[name]
        assert (report.rows, report.rows_expected) == (rows, 3 * size), name
        assert report.sample == (rows < 3 * size)
        if report.sample:
            assert f"of {size} each" in report.missing
    spurious = [s for name, s in found.items() if name.startswith("spurious")]
    assert len(spurious) == 12
    if not (decodingtrust / "data/adv_demonstration/spurious").exists():
        assert {(s.rows, s.rows_expected) for s in spurious} == {(0, 10_000)}
        assert all("spurious/" in s.missing for s in spurious)


def test_labels_are_those_of_the_specification(imported):
    by_style = plan(imported[1], "ood", ("base", "tweet_p0.6")).scenarios
    for scenario in by_style:
        assert [sum(s.label == y for s in scenario.samples) for y in "01"] == [428, 444]
    clusters = [[s.cluster_id for s in scenario.samples] for scenario in by_style]
    assert clusters[0] == clusters[1]
    names = ("backdoor_setup1_badword_asr", "backdoor_setup1_badword_cacc")
    asr, cacc = plan(imported[1], "adv_demonstration", names).scenarios
    assert {s.label for s in asr.samples} == {"positive"}
    assert {s.label for s in cacc.samples} == {"negative", "positive"}


# -- golden prompts: rendered here once more, from the raw files -----------------------------------
def few_shot(chat, task, shots, text):
    turns = [["system", chat["system_few_shot"]], ["user", task],
             ["assistant", chat["few_shot_acknowledgement"]]]  # fmt: skip
    for shown, label in shots:
        turns += [["user", shown], ["assistant", label[:1].upper() + label[1:].lower()]]
    return [*turns, ["user", text]]


def question(p, row, ending, idk=False, dated=True):
    text = p["date_line"].format(row["question_date"]) if dated else ""
    text += p["question_prefix"] + row["question_sentence"] + ending
    for position, choice in enumerate(row["choices"] + [p["idk_option_text"]] * idk):
        text += f"{position} : {choice} \n"
    return text


def ood_turns(root, prompts, scenario):
    p, chat = prompts["ood"], prompts["chat"]
    task, shots = OOD[scenario]
    knowledge = task.startswith("qa_")
    data = json.loads((root / f"data/ood/{'knowledge' if knowledge else 'style'}.json").read_text())
    idk = scenario.endswith("_idk")
    if knowledge:
        line = p["task_line_knowledge_idk" if idk else "task_line_knowledge"]
        texts = [question(p, row, "\n ", idk) for row in data["test"][task]]
        shown = [
            (question(p, row, "\n", dated="2021_qa" in shots), row["answer"][0])
            for row in (data["demo"][shots] if shots else ())
        ]
    else:
        line = p["task_line_style"]["ct-2024-02"]
        texts = [row["sentence"] for row in data["dev"][task]]
        shown = [
            (row["sentence"], ["negative", "positive"][int(row["label"])])
            for row in (data["train_demo"][shots] if shots else ())
        ]
    for text in texts:
        if shots:
            yield few_shot(chat, line, shown, text)
        else:
            yield [["system", chat["system_zero_shot"]], ["user", f"{line}\n{text}"]]


@pytest.mark.parametrize("part", [None, *("base", *OWN), "qa_2020"])
def test_ood_prompts_equal_an_independent_rendering(part, imported, decodingtrust):
    prompts = json.loads((decodingtrust / "prompts.json").read_text())
    names = [n for n, (task, shots) in OOD.items() if (task if shots else None) == part]
    planned = plan(imported[1], "ood", tuple(names)).scenarios
    assert {scenario.name for scenario in planned} == set(names)
    for scenario in planned:
        assert rendered(scenario) == golden(ood_turns(decodingtrust, prompts, scenario.name))


def advglue_turns(prompts, task, rows):
    p = prompts["advglue"]
    line = p["task_lines"]["mnli" if task == "mnli-mm" else task]
    shots = p["demonstrations"]["mnli" if task == "mnli-mm" else task]
    for row in rows:
        item = "\n".join(f"{key}: {row[key]}" for key in KEYS[task])
        if row.get("method") == "semattack":
            item = row["sentence"]
        item = item.replace("sentence1", "premise").replace("sentence2", "Hypothesis")
        yield [*([t["role"], t["content"]] for t in shots), ["user", f"{line}\n{item}"]]


@pytest.mark.parametrize("task", DEV)
def test_advglue_prompts_equal_an_independent_rendering(task, imported, decodingtrust):
    prompts = json.loads((decodingtrust / "prompts.json").read_text())
    rows = json.loads((decodingtrust / "data/adv-glue/dev.json").read_text())[task]
    (scenario,) = plan(imported[1], "advglue", (f"dev_{task}",)).scenarios
    assert rendered(scenario) == golden(advglue_turns(prompts, task, rows))
    assert [s.label for s in scenario.samples] == [str(row["label"]) for row in rows]


@pytest.mark.parametrize("name", SETS)
def test_demonstration_prompts_equal_an_independent_rendering(name, imported, decodingtrust):
    prompts = json.loads((decodingtrust / "prompts.json").read_text())
    p = prompts["adv_demonstration"]
    key = "sa" if name.startswith("backdoor") else p["set_to_task_key"][name[15:-3]]
    turns = []
    for seed in SEEDS:
        path = decodingtrust / f"data/adv_demonstration/{SETS[name][0]}/{seed}.jsonl"
        for line in path.read_text().splitlines():
            row = json.loads(line)
            turns.append(
                few_shot(prompts["chat"], p["task_lines"][key], row["examples"], row["input"])
            )
    (scenario,) = plan(imported[1], "adv_demonstration", (name,)).scenarios
    assert rendered(scenario) == golden(turns)


# -- files that the user supplies ------------------------------------------------------------------
@pytest.fixture
def checkout(tmp_path, decodingtrust) -> Path:
    """A writable copy of the AdvGLUE part, with AdvGLUE++ files made of development rows."""
    root = tmp_path / "checkout"
    (root / "data/adv-glue-plus-plus/data").mkdir(parents=True)
    (root / "prompts.json").write_bytes((decodingtrust / "prompts.json").read_bytes())
    dev = json.loads((decodingtrust / "data/adv-glue/dev.json").read_text())
    for source in ("alpaca", "vicuna", "stable-vicuna"):
        rows = {
            task: [
                row | {f"original_{key}": row[key] + "!" for key in KEYS[task]}
                | {"method": "semattack" if task == "sst2" and k % 2 else "textfooler"}
                for k, row in enumerate(dev[task][:20])
            ]
            for task in ("sst2", "qqp", "mnli")
        }  # fmt: skip
        path = root / f"data/adv-glue-plus-plus/data/{source}.json"
        path.write_text(json.dumps(rows))
    return root


def imported_advglue(checkout, out):
    report = import_decodingtrust(checkout, out, ("advglue",))
    return {s.scenario: s for s in report.scenarios}, Pack.open(str(out))


def test_supplied_advglue_plus_plus_gives_nine_cells(checkout, tmp_path):
    prompts = json.loads((checkout / "prompts.json").read_text())
    found, pack = imported_advglue(checkout, tmp_path / "out")
    planned = plan(pack, "advglue")
    assert planned.is_complete
    assert [s.name for s in planned.scenarios] == [
        f"{source}_{task}"
        for source in ("alpaca", "vicuna", "stable-vicuna")
        for task in ("sst2", "qqp", "mnli")
    ]
    for scenario in planned.scenarios:
        source, task = scenario.name.rsplit("_", 1)
        path = checkout / f"data/adv-glue-plus-plus/data/{source}.json"
        rows = json.loads(path.read_text())[task]
        assert rendered(scenario) == golden(advglue_turns(prompts, task, rows))
    assert "dev.json is not in the checkout" in found["dev_sst2"].missing


def test_attacks_on_one_item_share_a_cluster_over_source_models(checkout, tmp_path):
    _, pack = imported_advglue(checkout, tmp_path / "out")
    first, second = plan(pack, "advglue", ("alpaca_qqp", "vicuna_qqp")).scenarios
    assert [s.cluster_id for s in first.samples] == [s.cluster_id for s in second.samples]


def test_rows_of_the_hub_are_told_apart_by_their_model(checkout, tmp_path):
    folder = checkout / "data/adv-glue-plus-plus/data"
    rows = [
        json.loads((folder / f"{source}.json").read_text())["qqp"][:size]
        for source, size in (("alpaca", 3), ("vicuna", 2))
    ]
    for source in ("alpaca", "vicuna", "stable-vicuna"):
        (folder / f"{source}.json").unlink()
    lines = [row | {"model": "alpaca"} for row in rows[0]]
    lines += [row | {"model": "vicuna"} for row in rows[1]]
    (folder / "qqp.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found, _ = imported_advglue(checkout, tmp_path / "out")
    assert (found["alpaca_qqp"].rows, found["vicuna_qqp"].rows) == (3, 2)
    assert "has no records" in found["stable-vicuna_qqp"].missing
    assert "is not in the checkout" in found["alpaca_sst2"].missing


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"label": 5}, "label"), ({"question2": None}, "question1, question2"),
     ({"method": 3}, "method")],
)  # fmt: skip
def test_a_broken_record_of_a_supplied_file_is_named(change, problem, checkout, tmp_path):
    path = checkout / "data/adv-glue-plus-plus/data/vicuna.json"
    document = json.loads(path.read_text())
    document["qqp"][7] |= change
    path.write_text(json.dumps(document))
    with pytest.raises(DataLoss, match=rf"vicuna\.json: qqp\[7\] .*{problem}"):
        imported_advglue(checkout, tmp_path / "out")


def test_a_broken_ood_row_is_named(tmp_path, decodingtrust):
    root = tmp_path / "checkout"
    (root / "data/ood").mkdir(parents=True)
    (root / "prompts.json").write_bytes((decodingtrust / "prompts.json").read_bytes())
    document = json.loads((decodingtrust / "data/ood/style.json").read_text())
    document["dev"]["tweet_p0"][3]["label"] = "2"
    (root / "data/ood/style.json").write_text(json.dumps(document))
    with pytest.raises(DataLoss, match=r"style\.json: dev\.tweet_p0\[3\]"):
        import_decodingtrust(root, tmp_path / "out", ("ood",))


def test_a_missing_seed_makes_a_set_a_sample(tmp_path, decodingtrust):
    folder = "data/adv_demonstration/counterfactual/main_verb_cf"
    root = tmp_path / "checkout"
    (root / folder).mkdir(parents=True)
    (root / "prompts.json").write_bytes((decodingtrust / "prompts.json").read_bytes())
    whole = "".join([(decodingtrust / folder / "42.jsonl").read_text()] * 25)
    for seed in (42, 2333):
        (root / folder / f"{seed}.jsonl").write_text(whole)
    report = import_decodingtrust(root, tmp_path / "out", ("adv_demonstration",))
    (found,) = [s for s in report.scenarios if s.rows]
    assert (found.scenario, found.rows, found.sample) == (
        "counterfactual_main_verb_cf", 2000, True
    )  # fmt: skip
    assert found.missing == "2000 of 3000 rows: 0 in seed 10007, of 1000 each"
