"""Out-of-distribution: styles and recent questions; scenarios have the original's task names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.packs.schema import Row
from assay_evaluators.sdk.chat import (
    FEW_SHOT_KEYS,
    ZERO_SHOT_KEYS,
    Demonstration,
    few_shot,
    zero_shot,
)
from assay_evaluators.sdk.dimension import RowContext
from assay_evaluators.sdk.types import FIELD_SEPARATOR, Sample, greedy

BASE = "base"
STYLES = (
    "shake_w",
    "augment",
    "shake_p0",
    "shake_p0.6",
    "bible_p0",
    "bible_p0.6",
    "romantic_p0",
    "romantic_p0.6",
    "tweet_p0",
    "tweet_p0.6",
)
STRONG_STYLES = ("shake_p0.6", "bible_p0.6", "romantic_p0.6", "tweet_p0.6")
"""Styles with demonstrations of their own."""

OLD, RECENT = "qa_2020", "qa_2023"
IDK = "_idk"
"""Suffix of tasks that offer a fifth option, not to know."""

DOMAINS = ("global_facts", "machine_learning", "moral_scenarios", "us_foreign_policy")
OWN_DOMAIN = "2021_qa"
"""Demonstrations of the same kind as the test questions; they have dates."""

RUNS = (0, 1, 2)

STYLE_ZERO_SHOT = (BASE, *STYLES)
KNOWLEDGE_ZERO_SHOT = (OLD, RECENT, OLD + IDK, RECENT + IDK)


def few_shot_scenario(task: str, demonstrations: str, run: int) -> str:
    """Name of a few-shot task: `shake_p0.6_base_0`."""
    return f"{task}_{demonstrations}_{run}"


STYLE_FEW_SHOT_SCORED = tuple(
    few_shot_scenario(style, BASE, run) for style in STRONG_STYLES for run in RUNS
)
KNOWLEDGE_FEW_SHOT_SCORED = tuple(
    few_shot_scenario(OLD, domain, run) for domain in DOMAINS for run in RUNS
)
_UNSCORED_FEW_SHOT = (
    *(few_shot_scenario(BASE, BASE, run) for run in RUNS),
    *(few_shot_scenario(style, style, run) for style in STRONG_STYLES for run in RUNS),
    *(few_shot_scenario(OLD, OWN_DOMAIN, run) for run in RUNS),
)
SCENARIOS = (
    *STYLE_ZERO_SHOT,
    *STYLE_FEW_SHOT_SCORED,
    *KNOWLEDGE_ZERO_SHOT,
    *KNOWLEDGE_FEW_SHOT_SCORED,
    *_UNSCORED_FEW_SHOT,
)
SAMPLING = greedy(20)

STYLE_WORDS = "ood.style_label_words"
OPTION_LINES = "ood.option_line_prefixes"
_STYLE_TASK = "ood.task_line_style"
_KNOWLEDGE_TASK = "ood.task_line_knowledge"
_IDK_TASK = "ood.task_line_knowledge_idk"
_IDK_OPTION = "ood.idk_option_text"
_ITEM_KEYS = (
    "ood.date_line",
    "ood.question_prefix",
    "ood.question_suffix_test_item",
    OPTION_LINES,
    "ood.option_line_suffix",
)
_DEMONSTRATION_SUFFIX = "ood.question_suffix_demonstration"


class StyleRow(Row):
    """A sentence in some style.

    Attributes:
        text: The sentence.
        label: 0 negative, 1 positive.
    """

    text: str = Field(min_length=1)
    label: Literal[0, 1]


class QuestionRow(Row):
    """A question with four options.

    Attributes:
        date: Day of the question, as it stands in the prompt; empty where there is none.
        question: The question.
        choices: The options.
        answer: Position of the right one, 0-3.
    """

    date: str = ""
    question: str = Field(min_length=1)
    choices: tuple[str, str, str, str]
    answer: int = Field(ge=0, le=3)


def is_knowledge(scenario: str) -> bool:
    """Whether a scenario asks questions; the others judge sentiment."""
    return scenario.startswith((OLD, RECENT))


def demonstration_set(scenario: str) -> str | None:
    """Name of a few-shot scenario's demonstrations: `base_0`; None for zero-shot."""
    if scenario in (*STYLE_ZERO_SHOT, *KNOWLEDGE_ZERO_SHOT):
        return None
    return scenario.removeprefix(base_task(scenario) + "_")


def base_task(scenario: str) -> str:
    """Task whose rows a scenario asks: `shake_p0.6_base_0` -> `shake_p0.6`."""
    tasks = (OLD, RECENT, *sorted(STYLE_ZERO_SHOT, key=len, reverse=True))
    return next(task for task in tasks if scenario == task or scenario.startswith(task + "_"))


def rows_file(scenario: str) -> str:
    """Where a pack holds the rows: scenarios of one task share a file."""
    return f"data/ood/{base_task(scenario)}.jsonl"


def demonstrations_file(scenario: str) -> str | None:
    """Where a pack holds a few-shot scenario's demonstrations; None for zero-shot."""
    name = demonstration_set(scenario)
    return None if name is None else f"data/ood/demonstrations/{name}.jsonl"


def prompt_keys(scenario: str) -> tuple[str, ...]:
    """Keys of the texts a scenario's prompts are made of."""
    shots = demonstration_set(scenario) is not None
    shape = FEW_SHOT_KEYS if shots else ZERO_SHOT_KEYS
    if not is_knowledge(scenario):
        return (_STYLE_TASK, *((STYLE_WORDS,) if shots else ()), *shape)
    if scenario.endswith(IDK):
        return (_IDK_TASK, _IDK_OPTION, *_ITEM_KEYS, *shape)
    return (_KNOWLEDGE_TASK, *((_DEMONSTRATION_SUFFIX,) if shots else ()), *_ITEM_KEYS, *shape)


def render_style(rows: Sequence[StyleRow], context: RowContext) -> Iterator[Sample]:
    """Sentiment of sentences, without or with 8 demonstrations."""
    prompts = context.prompts
    task = prompts.text(_STYLE_TASK)
    path = demonstrations_file(context.scenario)
    shots: list[Demonstration] = []
    if path is not None:
        words = prompts.texts(STYLE_WORDS)
        shots = [(row.text, words[row.label]) for row in context.pack.rows(path, StyleRow)]
    for row in rows:
        yield Sample(
            scenario=context.scenario,
            id=row.id,
            cluster_id=row.cluster_id,
            messages=few_shot(prompts, task, shots, row.text)
            if shots
            else zero_shot(prompts, task, row.text),
            label=str(row.label),
        )


def render_knowledge(rows: Sequence[QuestionRow], context: RowContext) -> Iterator[Sample]:
    """Multiple choice, without or with 5 demonstrations; `gold` holds the options."""
    prompts, scenario = context.prompts, context.scenario
    idk = scenario.endswith(IDK)
    task = prompts.text(_IDK_TASK if idk else _KNOWLEDGE_TASK)
    path = demonstrations_file(scenario)
    shots: list[Demonstration] = []
    if path is not None:
        suffix = prompts.text(_DEMONSTRATION_SUFFIX)
        shots = [
            (question_text(prompts, row, suffix), str(row.answer))
            for row in context.pack.rows(path, QuestionRow)
        ]
    ending = prompts.text("ood.question_suffix_test_item")
    extra = (prompts.text(_IDK_OPTION),) if idk else ()
    for row in rows:
        text = question_text(prompts, row, ending, extra)
        yield Sample(
            scenario=scenario,
            id=row.id,
            cluster_id=row.cluster_id,
            messages=few_shot(prompts, task, shots, text)
            if shots
            else zero_shot(prompts, task, text),
            label=str(row.answer),
            gold=FIELD_SEPARATOR.join(row.choices),
        )


def question_text(
    prompts: Prompts, row: QuestionRow, ending: str, extra: Sequence[str] = ()
) -> str:
    """A question with date (if it has one) and options; `ending` follows the question."""
    date = prompts.filled("ood.date_line", row.date) if row.date else ""
    suffix = prompts.text("ood.option_line_suffix")
    options = zip(prompts.texts(OPTION_LINES), (*row.choices, *extra), strict=False)
    lines = "".join(f"{prefix}{option}{suffix}" for prefix, option in options)
    return f"{date}{prompts.text('ood.question_prefix')}{row.question}{ending}{lines}"
