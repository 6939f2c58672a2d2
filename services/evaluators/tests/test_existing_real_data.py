"""Generation files made for the real data set: every row of every dimension with data joins.

The data are the user's own (`decodingtrust` fixture); answers are constants.
"""

from __future__ import annotations

import csv
import json

import decodingtrust_robustness as dtr
import decodingtrust_texts as dtt
import decodingtrust_writer as dt
import pytest

from assay_evaluators.existing import score_existing

MODEL = "hf/someone/tiny"


@pytest.fixture
def root(decodingtrust, tmp_path):
    checkout = tmp_path / "DecodingTrust"
    checkout.mkdir()
    (checkout / "prompts.json").symlink_to(decodingtrust / "prompts.json")
    (checkout / "data").symlink_to(decodingtrust / "data")
    return checkout


@pytest.fixture(scope="module")
def prompts(decodingtrust):
    return json.loads((decodingtrust / "prompts.json").read_text())


def test_stereotype_rows_join_by_the_published_prompts(root, prompts):
    p = prompts["stereotype"]
    with (root / "data/stereotype/dataset/user_prompts.csv").open(newline="") as stream:
        published = {row["user_prompt"] for row in csv.DictReader(stream)}
    folder = root / "results/stereotype/generations" / MODEL
    for scenario in dt.SCENARIOS:
        for topic, statements in p["statement_templates"].items():
            users = [
                p["task_description"] + statement.replace("[target_group]", group)
                for group in p["target_groups"]
                for statement in statements
            ]
            assert published.issuperset(users)
            cell = {"agreeability_num": 1, "output": "I agree."}
            dt.write_lines(folder / scenario / f"25_{topic}.jsonl", [
                {"model": "x", "system_prompt": "", "user_prompt": user}
                | {f"gen_{j}": cell for j in range(25)} for user in users
            ])  # fmt: skip
    document = score_existing("stereotype", root / "results", parser="dt-2024-09")
    assert document["missing"] == []
    assert document["score"] == 0.0
    assert all(each["rejected"] == {} for each in document["files"])
    # The run-time verdict is the same rule on the same text.
    assert document["scenarios"]["benign"]["stored_verdict_agreement"] == 1.0


def test_fairness_settings_are_found_by_content_alone(root, prompts):
    files = prompts["fairness"]["result_file_to_sensitive_attribute_file"]
    folder = root / "generations"
    for number, (result, attribute) in enumerate(files.items()):
        stem = attribute.removesuffix(".npy").split("attr_")[-1].split("labels_")[-1]
        lines = (root / f"data/fairness/fairness_data/{stem}.jsonl").open()
        pairs = []
        for line in lines:
            row = json.loads(line)
            messages = [{"role": "system", "content": "s"}]
            for text, label in row["examples"]:
                messages += [
                    {"role": "system", "name": "example_user", "content": text},
                    {"role": "system", "name": "example_assistant", "content": label},
                ]
            messages.append({"role": "user", "content": f"task\n{row['input']}"})
            pairs.append([messages, dt.response("yes" if "crime" not in result else "High")])
        data_set = "crime" if "crime" in result else "adult"
        dt.write_json(folder / f"m_{data_set}_{number}.jsonl", pairs)
    document = score_existing("fairness", folder, parser="ct-2024-02", pack=str(root))
    assert document["missing"] == []
    # One answer to everything: no difference but in br_1.0, where no woman has the label yes: a
    # true positive rate over no rows is 0 (fairlearn), so EOD = 1.
    assert document["score"] == pytest.approx(100 * (1 - 1 / 22))
    assert len({each["scenario"] for each in document["files"]}) == 11


def test_ood_tasks_join_with_the_published_rows(root, prompts):
    p = prompts["ood"]
    styles = json.loads((root / "data/ood/style.json").read_text())["dev"]
    questions = json.loads((root / "data/ood/knowledge.json").read_text())["test"]
    documents: dict[str, dict] = {}
    for task in dtr.OOD_TASKS:
        shots = task[-2:] in ("_0", "_1", "_2")
        if task.startswith("qa_"):
            idk = task.endswith("_idk")
            line = "" if shots else p["task_line_knowledge_idk" if idk else "task_line_knowledge"]
            name = "knowledge_" + ("2020_5shot" if shots else "idk" if idk else "standard")
            texts = [q["question_sentence"] for q in questions[task[:7]]]
        else:
            name, line = "style_8shot" if shots else "style", ""
            texts = [row["sentence"] for row in styles[task.split("_base_")[0]]]
        documents.setdefault(name, {})[task.removesuffix("_idk")] = {"outputs": [
            [[{"role": "user", "content": f"{line}\n{text}" if line else text}],
             dt.response("positive 1")] for text in texts
        ]}  # fmt: skip
    for name, document in documents.items():
        dt.write_json(root / "results/ood/results" / MODEL / f"{name}.json", document)
    document = score_existing("ood", root / "results", parser="ct-2024-02")
    assert document["missing"] == []
    # 444 of 872 sentences are positive.
    assert document["values"]["style"] == pytest.approx(100 * 444 / 872)


def test_toxicity_rows_join_by_position_and_text(root):
    folder = root / "results/toxicity/user_prompts/generations" / MODEL
    for name, file in dtt.TOXICITY_FILES.items():
        lines = (root / "data/toxicity/user_prompts" / file).open()
        texts = [json.loads(line)["prompt"]["text"] for line in lines]
        choices = [{"index": j, "message": {"content": "fine"}} for j in range(25)]
        dt.write_lines(folder / f"{name}-template-0-generations.jsonl", [
            {"prompt": text, "continuation": "fine", "response": {"choices": choices}}
            for text in texts
        ])  # fmt: skip
    document = score_existing("toxicity", root / "results", parser="ct-2024-02",
                              allow_incomplete=True)  # fmt: skip
    assert document["missing"] == [f"{name}-template-1: no file" for name in dtt.TOXICITY_FILES]
    emts = {entry["emt"] for entry in document["scenarios"].values() if entry["n"]}
    assert len(emts) == 1
    assert document["score"] == pytest.approx(100 * (1 - emts.pop()))


def test_real_phrase_lists_score_ethics_and_privacy(root):
    dt.write_ethics_run(root, MODEL, lambda scenario, k, label: f"{label.capitalize()}.</s>")
    assert score_existing("ethics", root / "results", parser="ct-2024-02")["score"] == 100.0
    dtt.write_privacy(root, "hf_m", lambda *_: "I'm sorry, I cannot share that.", enron_rows=3290)
    document = score_existing("privacy", root / "results", parser="dt-2024-09",
                              allow_incomplete=True)  # fmt: skip
    assert (document["score"], document["refusal"]) == (100.0, 1.0)
