"""A small pack of our own words: AdvGLUE, OOD, adversarial demonstrations, utility.

Every prompt ends with its right answer in double brackets, so that a synthetic model can know it.
"""

from __future__ import annotations

import re
from pathlib import Path

from mini_pack import PROMPTS as BASE

from assay_evaluators.dimensions.adv_demonstration.scenarios import (
    ATTACK_SUCCESS,
    CLEAN_ACCURACY,
    COUNTERFACTUAL,
    SPURIOUS,
    AdvDemonstrationRow,
)
from assay_evaluators.dimensions.advglue.scenarios import SCENARIOS as ADVGLUE
from assay_evaluators.dimensions.advglue.scenarios import AdvglueRow, task_of
from assay_evaluators.dimensions.ood.scenarios import SCENARIOS as OOD
from assay_evaluators.dimensions.ood.scenarios import (
    QuestionRow,
    StyleRow,
    demonstrations_file,
    is_knowledge,
    rows_file,
)
from assay_evaluators.dimensions.utility.scenarios import (
    MMLU_DEV_FILE,
    MMLU_FILE,
    PERPLEXITY_FILE,
    MmluRow,
    TextRow,
)
from assay_evaluators.packs.schema import ScenarioEntry
from assay_evaluators.packs.writing import PackWriter

LABELS = {
    "sst2": {"negative": 0, "positive": 1},
    "qqp": {"yes": 1, "no": 0},
    "mnli": {"yes": 0, "maybe": 1, "no": 2},
    "mnli-mm": {"yes": 0, "maybe": 1, "no": 2},
    "qnli": {"yes": 0, "no": 1},
    "rte": {"yes": 0, "no": 1},
}
PROMPTS = BASE | {
    "chat": BASE["chat"]
    | {
        "answer_prefix_removed": "answer:",
        "answer_cut_markers": {"end_of_sequence": "</s>", "chatml_end": "<|im_end|>"},
    },
    "advglue": {
        "task_lines": {task: f"Label this {task}." for task in LABELS},
        "demonstrations": {
            task: [
                {"role": "user", "content": f"Label this {task}.\nA tale."},
                {"role": "assistant", "content": next(iter(words))},
            ]
            for task, words in LABELS.items()
        },
        "label_words": LABELS,
        "raw_text_method": "semattack",
    },
    "ood": {
        "task_line_style": {"dt-2024-09": "Jugde it.", "ct-2024-02": "Judge it."},
        "task_line_knowledge": "Choose 0, 1, 2 or 3.",
        "task_line_knowledge_idk": "Choose 0, 1, 2, 3, or 4 if unknown.",
        "style_label_words": ["negative", "positive"],
        "idk_option_text": "unknown to me",
        "date_line": "It is {}. \n",
        "question_prefix": "Asked: ",
        "question_suffix_test_item": "\n ",
        "question_suffix_demonstration": "\n",
        "option_line_prefixes": [f"{k} : " for k in range(5)],
        "option_line_suffix": " \n",
        "knowledge_scan_stop": "202",
        "knowledge_refusal_words": ["sorry", "don't know", "refuse"],
    },
    "adv_demonstration": {
        "task_lines": {
            key: f"Task {key}."
            for key in ("nli3", "nli2", "sa", "syntactic_category", "main_verb",
                        "irregular_form", "control_raising")
        },
        "refusal_substrings": ["i cannot", "i refuse", "i'm sorry"],
        "not_refusal_if_contains": ["you are right"],
    },
}  # fmt: skip
OPTIONS = {"nli3": ["yes", "maybe", "no"], "sa": ["negative", "positive"], "nli2": ["no", "yes"]}
SUBJECTS = ("tea_making", "kites")


def bracketed(prompt: str, seed: int = 0) -> str:
    """The model that is always right: it reads the last answer in brackets."""
    return re.findall(r"\[\[(.*?)\]\]", prompt)[-1]


def write_mini_robustness(out: Path) -> str:
    """Writes the pack and returns its digest."""
    writer = PackWriter(out)
    writer.add_prompts(PROMPTS)
    for scenario in ADVGLUE:
        _add(writer, "advglue", scenario, _advglue(task_of(scenario)))
    _ood(writer)
    for scenario in (*COUNTERFACTUAL, *SPURIOUS, *ATTACK_SUCCESS, *CLEAN_ACCURACY):
        _add(writer, "adv_demonstration", scenario, _demonstrations(scenario))
    _utility(writer)
    return writer.finish(
        name="mini", version="1", licence="CC0-1.0", attribution="", display="allow", source="tests"
    )


def _advglue(task):
    words = {label: word for word, label in LABELS[task].items()}
    rows = []
    for k in range(6):
        label = k % len(words)
        second = () if task == "sst2" else (f"Second {k} [[{words[label]}]]",)
        first = f"Tale {k}" + ("" if second else f" [[{words[label]}]]")
        method = "semattack" if task == "sst2" and k == 0 else "typos"
        rows.append(AdvglueRow(id=f"{k}", cluster_id=f"{task}-{k}", texts=(first, *second),
                               label=label, method=method))  # fmt: skip
    return rows


def _ood(writer):
    written = {}
    for scenario in OOD:
        knowledge = is_knowledge(scenario)
        for path, size in ((rows_file(scenario), 8), (demonstrations_file(scenario), 2)):
            if path is None or path in written:
                continue
            rows = [_question(k) if knowledge else _sentence(k) for k in range(size)]
            writer.add_rows(path, rows)
            written[path] = size
        entry = ScenarioEntry(file=rows_file(scenario), rows=8, rows_expected=8)
        writer.add_scenario("ood", scenario, entry)


def _sentence(k):
    word = ("negative", "positive")[k % 2]
    return StyleRow(id=f"{k}", cluster_id=f"s{k}", text=f"Tale {k} [[{word}]]", label=k % 2)


def _question(k):
    choices = ("heron", "otter", "badger", f"vole [[{k % 4}]]")
    return QuestionRow(id=f"{k}", cluster_id=f"q{k}", date=f"day {k}",
                       question=f"Which animal {k}?", choices=choices, answer=k % 4)  # fmt: skip


def _demonstrations(scenario):
    kind = scenario.split("_", 1)[0]
    key = {"backdoor": "sa", "spurious": "nli2"}.get(kind, "nli3" if "snli" in scenario else "nli2")
    options = OPTIONS[key]
    rows = []
    for seed in (42, 2333, 10007):
        for k in range(6):
            right = options[k % len(options)]
            label = right
            if scenario in ATTACK_SUCCESS:
                # The trigger wants "positive" of a negative text.
                right, label = "negative", "positive"
            shots = tuple((f"Shown {seed} {n}", option) for n, option in enumerate(options))
            rows.append(AdvDemonstrationRow(
                id=f"s{seed}-{k}", cluster_id=f"{key}-{k}", input=f"Tale {k} [[{right}]]",
                label=label, options=tuple(options), examples=shots, seed=seed,
            ))  # fmt: skip
    return rows


def _utility(writer):
    def question(subject, k, kind):
        letter = "ABCD"[k % 4]
        return MmluRow(id=f"{subject}-{kind}-{k}", cluster_id=f"{subject}-{kind}-{k}",
                       subject=subject, question=f"Which of these {k}?",
                       choices=("heron", "otter", "badger", f"vole [[{letter}]]"),
                       answer=k % 4)  # fmt: skip

    writer.add_rows(MMLU_DEV_FILE, [question(s, k, "dev") for s in SUBJECTS for k in range(5)])
    rows = [question(s, k, "test") for s in SUBJECTS for k in range(4 if s == "kites" else 8)]
    writer.add_rows(MMLU_FILE, rows)
    for scenario in ("mmlu", "mmlu_likelihood"):
        entry = ScenarioEntry(file=MMLU_FILE, rows=len(rows), rows_expected=len(rows))
        writer.add_scenario("utility", scenario, entry)
    texts = [TextRow(id=f"t{k}", cluster_id=f"t{k}", text="word " * (4 + k)) for k in range(3)]
    writer.add_rows(PERPLEXITY_FILE, texts)
    entry = ScenarioEntry(file=PERPLEXITY_FILE, rows=3, rows_expected=3)
    writer.add_scenario("utility", "perplexity", entry)


def _add(writer, dimension, scenario, rows):
    path = f"data/{dimension}/{scenario}.jsonl"
    writer.add_rows(path, rows)
    writer.add_scenario(
        dimension, scenario, ScenarioEntry(file=path, rows=len(rows), rows_expected=len(rows))
    )
