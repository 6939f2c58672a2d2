"""AdvGLUE++ and AdvGLUE dev: cells of source model and task, rows, prompts and sampling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import Field

from assay_evaluators.packs.schema import Row
from assay_evaluators.sdk.dimension import RowContext
from assay_evaluators.sdk.types import Message, Sample, greedy

SOURCES = ("alpaca", "vicuna", "stable-vicuna")
"""Models that the adversarial texts of AdvGLUE++ were found against."""

DEV = "dev"
"""Source of the AdvGLUE development set, which is no part of AdvGLUE++."""

TASKS = ("sst2", "qqp", "mnli")
"""Tasks that the original runs."""

DEV_TASKS = (*TASKS, "mnli-mm", "qnli", "rte")
PLUS_PLUS_SCENARIOS = tuple(f"{source}_{task}" for source in SOURCES for task in TASKS)
DEV_SCENARIOS = tuple(f"{DEV}_{task}" for task in DEV_TASKS)
SCENARIOS = (*PLUS_PLUS_SCENARIOS, *DEV_SCENARIOS)
SAMPLING = greedy(16)

TEXT_KEYS = {
    "sst2": ("sentence",),
    "qqp": ("question1", "question2"),
    "mnli": ("premise", "hypothesis"),
    "mnli-mm": ("premise", "hypothesis"),
    "qnli": ("question", "sentence"),
    "rte": ("sentence1", "sentence2"),
}
"""GLUE's names of a task's texts; they stand in the prompts."""

RAW_TEXT_METHOD = "advglue.raw_text_method"
_MATCHED = {"mnli-mm": "mnli"}
"""The mismatched half of MNLI has the task line and demonstrations of the matched half.

The original has no demonstrations for it, so that its own run of that task fails.
"""


class AdvglueRow(Row):
    """An adversarial text, or pair of texts.

    Attributes:
        texts: The texts in the order of the task's keys: (sentence,), (question1, question2), ...
        label: GLUE's label id.
        method: Attack that made it; empty if unknown. `semattack` texts are sent without a key.
    """

    texts: tuple[str, ...] = Field(min_length=1, max_length=2)
    label: int = Field(ge=0, le=2)
    method: str = ""


def task_of(scenario: str) -> str:
    """GLUE task of a scenario: `stable-vicuna_mnli` -> `mnli`."""
    return scenario.rsplit("_", 1)[1]


def prompt_keys(scenario: str) -> tuple[str, ...]:
    """Keys of the texts a scenario's prompts are made of."""
    task = _MATCHED.get(task_of(scenario), task_of(scenario))
    return (f"advglue.task_lines.{task}", f"advglue.demonstrations.{task}", RAW_TEXT_METHOD)


def render(rows: Sequence[AdvglueRow], context: RowContext) -> Iterator[Sample]:
    """Fixed demonstrations, then task line and item in one user turn; no system turn."""
    task_line, demonstrations, _ = prompt_keys(context.scenario)
    prompts = context.prompts
    task = prompts.text(task_line)
    shots = tuple(Message(role, content) for role, content in prompts.messages(demonstrations))
    names = TEXT_KEYS[task_of(context.scenario)]
    raw = prompts.text(RAW_TEXT_METHOD)
    for row in rows:
        item = item_text(row, names, bare=row.method == raw)
        yield Sample(
            scenario=context.scenario,
            id=row.id,
            cluster_id=row.cluster_id,
            messages=(*shots, Message("user", f"{task}\n{item}")),
            topic=row.method or None,
            label=str(row.label),
        )


def item_text(row: AdvglueRow, keys: Sequence[str], *, bare: bool) -> str:
    """The item: `key: text`, the second pair on a new line.

    Pitfall kept: the words `sentence1` and `sentence2` are replaced in the whole item, also where
    a text holds them.
    """
    lines = row.texts if bare else [f"{k}: {t}" for k, t in zip(keys, row.texts, strict=True)]
    return "\n".join(lines).replace("sentence1", "premise").replace("sentence2", "Hypothesis")
