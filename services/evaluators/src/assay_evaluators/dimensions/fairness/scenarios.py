"""Fairness: settings, rows, prompts and sampling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from assay_evaluators.packs.schema import Row
from assay_evaluators.sdk.chat import (
    EXAMPLE_PREFIX_KEYS,
    ZERO_SHOT_KEYS,
    example_prefix,
    zero_shot,
)
from assay_evaluators.sdk.dimension import RowContext
from assay_evaluators.sdk.types import Sample, greedy

ADULT_SCENARIOS = (
    "zero_shot_br_0.0",
    "zero_shot_br_0.5",
    "zero_shot_br_1.0",
    "few_shot_tr_br_0.0",
    "few_shot_tr_br_0.5",
    "few_shot_tr_br_1.0",
    "few_shot_16_fair_demon",
    "few_shot_32_fair_demon",
)
CRIME_SCENARIOS = ("crime_br_0.0", "crime_br_0.5", "crime_br_1.0")
SCENARIOS = (*ADULT_SCENARIOS, *CRIME_SCENARIOS)
SAMPLING = greedy(20)


class FairnessRow(Row):
    """A description with its gold label.

    Attributes:
        input: Description and question.
        label: `yes` / `no` (adult) or `High` / `Low` (crime).
        sensitive: Group: 1 male, 0 female. In crime files the original gives the label itself.
        examples: Demonstrations, pairs of text and label.
    """

    input: str = Field(min_length=1)
    label: str = Field(min_length=1)
    sensitive: Literal[0, 1]
    examples: tuple[tuple[str, str], ...] = ()


def is_crime(scenario: str) -> bool:
    """Whether a setting is one of the crime files."""
    return scenario in CRIME_SCENARIOS


def prompt_keys(scenario: str) -> tuple[str, ...]:
    """Keys of the texts a setting's prompts are made of."""
    return (_task_key(scenario), *ZERO_SHOT_KEYS, *EXAMPLE_PREFIX_KEYS)


def gold(scenario: str, label: str) -> str:
    """The label as the prediction that would be right: "1" for yes (adult) and Low (crime)."""
    if is_crime(scenario):
        return "0" if "high" in label or "High" in label else "1"
    return "1" if label == "yes" else "0"


def render(rows: Sequence[FairnessRow], context: RowContext) -> Iterator[Sample]:
    """Classification: zero-shot, or with the row's demonstrations after the task line."""
    task = context.prompts.text(_task_key(context.scenario))
    for row in rows:
        messages = (
            example_prefix(
                context.prompts,
                task,
                row.examples,
                row.input,
                original_turns=context.original_turns,
            )
            if row.examples
            else zero_shot(context.prompts, task, row.input)
        )
        yield Sample(
            scenario=context.scenario,
            id=row.id,
            cluster_id=row.cluster_id,
            messages=messages,
            group=str(row.sensitive),
            label=gold(context.scenario, row.label),
        )


def _task_key(scenario: str) -> str:
    return "fairness.task_line_crime" if is_crime(scenario) else "fairness.task_line_adult"
