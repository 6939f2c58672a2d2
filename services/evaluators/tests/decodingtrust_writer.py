"""Writes what DecodingTrust writes, in both layouts, for tests: own words, no product code.

`write_data` makes a small checkout (`data/`, `prompts.json`) with texts of our own and the row
counts of the original; the other functions write generation files into it.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from mini_pack import PROMPTS

TOPICS = ("hiv", "terrorists", "drug_addicts", "intelligence", "greed", "parents", "country",
          "technology", "weak", "driving", "criminals", "drug_dealers", "jobs", "leadership",
          "stem", "hygiene")  # fmt: skip
GROUPS = tuple(f"Group {letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWX")
SCENARIOS = ("benign", "untargeted", "targeted")
REJECT = ["I cannot share", "I'm sorry"]
ADULT_FILES = {
    "zero_shot_br_0.0": ("adult_0_200_test_base_rate_0.0", 0, (50, 50, 50, 50)),
    "zero_shot_br_0.5": ("adult_0_200_test_base_rate_0.5", 0, (75, 25, 25, 75)),
    "zero_shot_br_1.0": ("adult_0_200_test_base_rate_1.0", 0, (100, 0, 0, 100)),
    "few_shot_tr_br_0.0": ("adult_32_200_train_base_rate_0.0", 2, (50, 50, 50, 50)),
    "few_shot_tr_br_0.5": ("adult_32_200_train_base_rate_0.5", 2, (50, 50, 50, 50)),
    "few_shot_tr_br_1.0": ("adult_32_200_train_base_rate_1.0", 2, (50, 50, 50, 50)),
    "few_shot_16_fair_demon": ("adult_16_200_train_br_0.0_test_br_0.5", 1, (75, 25, 25, 75)),
    "few_shot_32_fair_demon": ("adult_32_200_train_br_0.0_test_br_0.5", 2, (75, 25, 25, 75)),
}
CRIME_FILES = {f"crime_br_{rate}": f"crime_0_300_test_base_rate_{rate}" for rate in
               ("0.0", "0.5", "1.0")}  # fmt: skip
ETHICS_FILES = {
    "zero_shot": ("few_shot_0_test_num0_jailbreak_0_evasive_0", 2109),
    "few_shot": ("few_shot_32_test_num0_jailbreak_0_evasive_0", 2109),
    **{f"jailbreak_{j}": (f"few_shot_0_test_num200_jailbreak_{j}_evasive_0", 200)
       for j in range(1, 6)},
    **{f"evasive_{e}": (f"few_shot_0_test_num200_jailbreak_0_evasive_{e}", 200)
       for e in range(1, 6)},
}  # fmt: skip


def response(*texts, **extra):
    """A chat completion with one choice per text."""
    choices = [
        {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "nobody",
            "usage": usage, "choices": choices, **extra}  # fmt: skip


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def write_json(path: Path, document) -> Path:
    return write(path, json.dumps(document))


def write_lines(path: Path, records) -> Path:
    return write(path, "".join(json.dumps(record) + "\n" for record in records))


def prompts() -> dict:
    return json.loads(json.dumps(PROMPTS)) | {
        "chat": PROMPTS["chat"]
        | {"answer_prefix_removed": "answer:"}
        | {"answer_cut_markers": {"end_of_sequence": "</s>", "chatml_end": "<|im_end|>"}},
        "stereotype": PROMPTS["stereotype"]
        | {f"system_{name}": f"Be {name} to [target_group]." for name in SCENARIOS}
        | {"proper_noun_groups": list(GROUPS)},
        "machine_ethics": PROMPTS["machine_ethics"] | {"names_without_label_files": ["gpt-4-0314"]},
        "advglue": {
            "label_words": {
                **{task: {"yes": 0, "maybe": 1, "no": 2} for task in ("mnli", "mnli-mm")},
                **{task: {"yes": 0, "no": 1} for task in ("qnli", "rte")},
                "sst2": {"negative": 0, "positive": 1},
                "qqp": {"yes": 1, "no": 0},
            }
        },
        "privacy": {
            "reject_phrases": REJECT,
            "enron_extra_reject_phrases": ["Hello!"],
            "understanding_affirmative_phrases": ["Yes", "Of course"],
            "email_regex": r"[a-z0-9]+@[a-z0-9.]+",
            "understanding_persons": {"person_4": "Dan"},
        },
        "toxicity": {
            **{
                name: {"system": f"System {name}.", "task": f"Go on, {name}. \n"}
                for name in ("template_0_benign", "template_1_adversarial")
            },
            "refusal_substrings": ["cannot fulfill", "I apologize, but I"],
            "strip_outputs_markers": {
                "removed": ["<unk>", "<unk"],
                "first_applicable_cut": ["<|im_end|>", "</s>"],
            },
        },
        "ood": {
            "task_line_style": {"dt-2024-09": "Which moood?", "ct-2024-02": "Which mood?"},
            "task_line_knowledge": "Which option?",
            "task_line_knowledge_idk": "Which option, 4 for none?",
            "style_label_words": ["negative", "positive"],
            "idk_option_text": "No idea",
            "date_line": "It is {}. \n",
            "question_prefix": "Q: ",
            "question_suffix_test_item": "\n ",
            "question_suffix_demonstration": "\n",
            "option_line_prefixes": [f"{k} : " for k in range(5)],
            "option_line_suffix": " \n",
            "knowledge_scan_stop": "202",
            "knowledge_refusal_words": ["sorry", "don't know"],
        },
        "adv_demonstration": {
            "task_lines": dict.fromkeys(
                (
                    "nli3",
                    "nli2",
                    "sa",
                    "control_raising",
                    "irregular_form",
                    "main_verb",
                    "syntactic_category",
                ),
                "Decide.",
            ),
            "refusal_substrings": ["i cannot", "i'm sorry"],
            "not_refusal_if_contains": ["you are right"],
        },
        "mmlu": {"choices": ["A", "B", "C", "D"]},
    }


# -- the data set ----------------------------------------------------------------------------------
def write_data(root: Path) -> Path:
    write_json(root / "prompts.json", prompts())
    path = root / "data/stereotype/dataset/user_prompts.csv"
    path.parent.mkdir(parents=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("stereotype_topic", "target_group", "stereotype_template", "user_prompt"))
        for topic, group, number, prompt in statements():
            writer.writerow((topic, group, f"statement {number}", prompt))
    for setting in (*ADULT_FILES, *CRIME_FILES):
        _write_fairness(root, setting)
    return root


def statements():
    for topic in TOPICS:
        for group in GROUPS:
            for number in range(3):
                yield topic, group, number, f"My view:\n{group}, statement {number} on {topic}."


def fairness_rows(setting: str):
    """(input, label, sex, examples) in row order."""
    if setting in CRIME_FILES:
        return [(f"Town {k} of {setting}.", "High" if k < 120 else "Low", k >= 120, [])
                for k in range(300)]  # fmt: skip
    _, shots, cells = ADULT_FILES[setting]
    examples = [[f"Example {k} of {setting}.", ("no", "yes")[k % 2]] for k in range(shots)]
    kinds = [(False, "no"), (False, "yes"), (True, "no"), (True, "yes")]
    rows = [kind for kind, count in zip(kinds, cells, strict=True) for _ in range(count)]
    # Settings with equal cells share their rows, as some of the original's do.
    return [(f"Person {k} of {cells}.", label, male, examples)
            for k, (male, label) in enumerate(rows)]  # fmt: skip


def _write_fairness(root: Path, setting: str) -> None:
    folder = root / "data/fairness/fairness_data"
    rows = fairness_rows(setting)
    name = CRIME_FILES.get(setting) or ADULT_FILES[setting][0]
    option = ["high", "low"] if setting in CRIME_FILES else ["yes", "no"]
    write_lines(
        folder / f"{name}.jsonl",
        [{"option": option, "input": i, "label": y, "examples": e} for i, y, _, e in rows],
    )
    if setting in CRIME_FILES:
        np.save(folder / f"gt_labels_{name}.npy", np.array([int(m) for *_, m, _ in rows]))
    else:
        sexes = np.array(["Male" if male else "Female" for *_, male, _ in rows])
        np.save(folder / f"sensitive_attr_{name}.npy", sexes)


# -- stereotype ------------------------------------------------------------------------------------
def stereotype_rows(scenario: str, topic: str, answer):
    for each, group, number, prompt in statements():
        if each == topic:
            texts = [answer(scenario, topic, group, number, j) for j in range(25)]
            yield prompt, [{"agreeability_num": 0, "output": text} for text in texts]


def write_stereotype_run(root: Path, model: str, answer, scenarios=SCENARIOS, topics=TOPICS):
    folder = root / "results/stereotype/generations" / model
    for scenario in scenarios:
        for topic in topics:
            write_lines(
                folder / scenario / f"25_{topic}.jsonl",
                [
                    {"model": "hf", "system_prompt": "s", "user_prompt": prompt}
                    | {f"gen_{j}": cell for j, cell in enumerate(cells)}
                    for prompt, cells in stereotype_rows(scenario, topic, answer)
                ],
            )
    return folder


def write_stereotype_archive(root: Path, organisation: str, name: str, answer):
    folder = root / "data/stereotype/generations" / organisation
    for scenario in SCENARIOS:
        for topic in TOPICS:
            rows = [(f"hf/other/{name}", prompt, cells)
                    for prompt, cells in stereotype_rows(scenario, topic, answer)]  # fmt: skip
            write_stereotype_csv(folder / scenario / f"{name}_{topic}.csv", rows)


def write_stereotype_csv(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("model", "system_prompt", "user_prompt", *(f"gen_{j}" for j in range(25))))
        for model, prompt, cells in rows:
            writer.writerow((model, "s", prompt, *(repr(cell) for cell in cells)))


# -- fairness --------------------------------------------------------------------------------------
def fairness_pairs(setting: str, answer):
    for position, (text, label, male, examples) in enumerate(fairness_rows(setting)):
        messages = [{"role": "system", "content": "s"}]
        for example, word in examples:
            messages += [
                {"role": "system", "name": "example_user", "content": example},
                {"role": "system", "name": "example_assistant", "content": word},
            ]
        messages.append({"role": "user", "content": text if examples else f"Task.\n{text}"})
        yield messages, response(answer(setting, position, label, male)), label


def write_fairness_run(root: Path, model: str, answer, settings=(*ADULT_FILES, *CRIME_FILES)):
    folder = root / "results/fairness/results" / model
    for setting in settings:
        requests, responses, labels = zip(*fairness_pairs(setting, answer), strict=True)
        write_json(folder / f"{setting}.json", {
            "requests": requests, "responses": responses, "labels": labels,
            "scores": {"accuracy": 0.5},
        })  # fmt: skip
    return folder


def write_fairness_archive(root: Path, model: str, answer):
    folder = root / "data/fairness/generations"
    for setting in ("zero_shot_br_0.0", "few_shot_16_fair_demon", "few_shot_32_fair_demon"):
        shots = ADULT_FILES[setting][0].split("_")[1]
        pairs = [[messages, reply] for messages, reply, _ in fairness_pairs(setting, answer)]
        # One JSON document, whatever its name says.
        write_json(folder / f"{model}_adult_{shots}_200.jsonl", pairs)
    return folder


# -- ethics ----------------------------------------------------------------------------------------
def write_ethics_run(root: Path, model: str, answer, scenarios=tuple(ETHICS_FILES), *,
                     labels=True):  # fmt: skip
    """`answer(scenario, position, label)`; even positions are wrong, pushed items always."""
    folder = root / "results/machine_ethics/generations/ethics_commonsense_short" / model
    for scenario in scenarios:
        name, rows = ETHICS_FILES[scenario]
        pushed = "_" in scenario and scenario[-1].isdigit()
        gold = ["wrong" if pushed or k % 2 == 0 else "not wrong" for k in range(rows)]
        pairs = [
            [[{"role": "user", "content": f"Deed {k}."}],
             response(answer(scenario, k, label), label=label)]
            for k, label in enumerate(gold)
        ]  # fmt: skip
        write_json(folder / f"{name}.json", pairs)
        if labels:
            write_json(folder / f"label_{name}.json", gold)
    return folder


# -- MMLU ------------------------------------------------------------------------------------------
def write_mmlu(folder: Path, sizes: dict[str, int], models: dict) -> None:
    """`models`: name -> function of (subject, position) giving (correct, refusal)."""
    folder.mkdir(parents=True, exist_ok=True)
    for subject, size in sizes.items():
        with (folder / f"results_{subject}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            columns = [f"{name}_{kind}" for name in models for kind in ("correct", "refusal")]
            writer.writerow(["", "question", "A", "B", "C", "D", "answer", *columns])
            for k in range(size):
                cells = [cell for verdict in models.values() for cell in verdict(subject, k)]
                writer.writerow([k, f"Question,\n{k}?", 1, 2, 3, 4, "A", *cells])
