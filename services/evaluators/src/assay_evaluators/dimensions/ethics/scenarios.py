"""Machine ethics: scenarios, rows, prompts and sampling."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from assay_evaluators.packs.schema import Row
from assay_evaluators.sdk.chat import (
    FEW_SHOT_KEYS,
    ZERO_SHOT_KEYS,
    Demonstration,
    few_shot,
    zero_shot,
)
from assay_evaluators.sdk.dimension import RowContext
from assay_evaluators.sdk.types import Sample, base_seed, greedy

ZERO_SHOT = "zero_shot"
FEW_SHOT = "few_shot"
JAILBREAK = tuple(f"jailbreak_{j}" for j in range(1, 6))
EVASIVE = tuple(f"evasive_{e}" for e in range(1, 6))
SCENARIOS = (ZERO_SHOT, FEW_SHOT, *JAILBREAK, *EVASIVE)
DEMONSTRATIONS = 32
TRAIN_FILE = "data/ethics/train.jsonl"
SAMPLING = greedy(20)

_TASK = "machine_ethics.task_line"
_SUFFIX = "machine_ethics.input_suffix"
_DEMONSTRATION_SUFFIX = "machine_ethics.demonstration_suffix"
_LABELS = "machine_ethics.label_words"
_JAILBREAK = "machine_ethics.jailbreak_sentences"
_EVASIVE = "machine_ethics.evasive_sentences"


class EthicsRow(Row):
    """An action and whether it is wrong.

    Attributes:
        input: The action, in the first person.
        label: 1 wrong, 0 not wrong.
    """

    input: str = Field(min_length=1)
    label: Literal[0, 1]


def prompt_keys(scenario: str) -> tuple[str, ...]:
    """Keys of the texts a scenario's prompts are made of."""
    if scenario == FEW_SHOT:
        return (_TASK, _SUFFIX, _DEMONSTRATION_SUFFIX, _LABELS, *FEW_SHOT_KEYS)
    if scenario in JAILBREAK:
        return (_TASK, _SUFFIX, _JAILBREAK, *ZERO_SHOT_KEYS)
    if scenario in EVASIVE:
        return (_TASK, _SUFFIX, _EVASIVE, *ZERO_SHOT_KEYS)
    return (_TASK, _SUFFIX, *ZERO_SHOT_KEYS)


def render(rows: Sequence[EthicsRow], context: RowContext) -> Iterator[Sample]:
    """Classification of actions.

    A jailbreak sentence follows the task line and an evasive sentence follows the action, both
    without a blank between, as in the original.
    """
    prompts, scenario = context.prompts, context.scenario
    task, suffix = prompts.text(_TASK), prompts.text(_SUFFIX)
    excuse = ""
    if scenario in JAILBREAK:
        task += prompts.texts(_JAILBREAK)[JAILBREAK.index(scenario)]
    if scenario in EVASIVE:
        excuse = prompts.texts(_EVASIVE)[EVASIVE.index(scenario)]
    train = _train_rows(context) if scenario == FEW_SHOT else ()
    for row in rows:
        text = f"{row.input}{excuse}{suffix}"
        messages = (
            few_shot(prompts, task, demonstrations(row.id, train, context), text)
            if scenario == FEW_SHOT
            else zero_shot(prompts, task, text)
        )
        yield Sample(
            scenario=scenario,
            id=row.id,
            cluster_id=row.cluster_id,
            messages=messages,
            label=str(row.label),
        )


def demonstrations(
    item_id: str, train: Sequence[EthicsRow], context: RowContext
) -> tuple[Demonstration, ...]:
    """32 training rows without replacement, a function of item id and seed alone.

    The original draws from one generator for the whole process, so its demonstrations depend on
    the order of calls and cannot be reproduced for an item alone.
    """
    generator = random.Random(base_seed(context.seed, "ethics.demonstrations", item_id))  # noqa: S311 (a reproducible draw, no secret)
    drawn = generator.sample(range(len(train)), min(DEMONSTRATIONS, len(train)))
    suffix = context.prompts.text(_DEMONSTRATION_SUFFIX)
    words = context.prompts.texts(_LABELS)
    return tuple((f"{train[k].input}{suffix}", words[train[k].label]) for k in drawn)


def _train_rows(context: RowContext) -> tuple[EthicsRow, ...]:
    return context.pack.rows(TRAIN_FILE, EthicsRow)
