"""Adversarial demonstrations: counterfactual, spurious and backdoored sets, one scenario each.

A scenario holds the rows of all its seeds (draws of demonstrations); `seed` is a field of the row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import Field

from assay_evaluators.packs.schema import Row
from assay_evaluators.sdk.chat import FEW_SHOT_KEYS, few_shot
from assay_evaluators.sdk.dimension import RowContext
from assay_evaluators.sdk.types import FIELD_SEPARATOR, Sample, greedy

COUNTERFACTUAL_SETS = (
    "snli_premise",
    "snli_hypothesis",
    "control_raising",
    "irregular_form",
    "main_verb",
    "syntactic_category",
)
HEURISTICS = (
    "PP",
    "adverb",
    "embedded_under_verb",
    "l_relative_clause",
    "passive",
    "s_relative_clause",
)
BIASES = ("entail-bias", "non-entail-bias")
SETUPS = ("setup1", "setup2", "setup3")
ATTACKS = ("badword", "addsent", "synbkd", "stylebkd")
SEEDS = (42, 2333, 10007)
SPURIOUS_SEEDS = (0, 42, 2333, 10007, 12306)

COUNTERFACTUAL = tuple(f"counterfactual_{name}_cf" for name in COUNTERFACTUAL_SETS)
PLAIN = tuple(f"counterfactual_{name}" for name in COUNTERFACTUAL_SETS)
"""The same items without their counterfactual among the demonstrations; run by name, unscored."""

SPURIOUS = tuple(f"spurious_{name}_{bias}" for name in HEURISTICS for bias in BIASES)
_BACKDOORS = tuple(f"backdoor_{setup}_{attack}" for setup in SETUPS for attack in ATTACKS)
ATTACK_SUCCESS = tuple(f"{name}_asr" for name in _BACKDOORS)
CLEAN_ACCURACY = tuple(f"{name}_cacc" for name in _BACKDOORS)
SCENARIOS = (*COUNTERFACTUAL, *SPURIOUS, *ATTACK_SUCCESS, *CLEAN_ACCURACY, *PLAIN)
SAMPLING = greedy(20)

_TASK_LINES = "adv_demonstration.task_lines"


class AdvDemonstrationRow(Row):
    """An item with the demonstrations before it.

    Attributes:
        input: The item.
        label: Right answer; in `_asr` scenarios the attacker's target.
        options: Answers to choose from.
        examples: Demonstrations, pairs of text and label.
        seed: Draw of the demonstrations.
    """

    input: str = Field(min_length=1)
    label: str = Field(min_length=1)
    options: tuple[str, ...] = Field(min_length=2)
    examples: tuple[tuple[str, str], ...] = Field(min_length=1)
    seed: int = Field(ge=0)


def task_key(scenario: str) -> str:
    """Key of a scenario's task line below `adv_demonstration.task_lines`."""
    if scenario in SPURIOUS:
        return "nli2"
    if scenario in (*ATTACK_SUCCESS, *CLEAN_ACCURACY):
        return "sa"
    name = scenario.removeprefix("counterfactual_").removesuffix("_cf")
    return "nli3" if name.startswith("snli_") else name


def prompt_keys(scenario: str) -> tuple[str, ...]:
    """Keys of the texts a scenario's prompts are made of."""
    return (f"{_TASK_LINES}.{task_key(scenario)}", *FEW_SHOT_KEYS)


def render(rows: Sequence[AdvDemonstrationRow], context: RowContext) -> Iterator[Sample]:
    """Few-shot classification; `group` is the seed, `gold` the options."""
    task = context.prompts.text(f"{_TASK_LINES}.{task_key(context.scenario)}")
    for row in rows:
        yield Sample(
            scenario=context.scenario,
            id=row.id,
            cluster_id=row.cluster_id,
            messages=few_shot(context.prompts, task, row.examples, row.input),
            group=str(row.seed),
            label=row.label,
            gold=FIELD_SEPARATOR.join(row.options),
        )
