"""Utility: MMLU in two protocols, and perplexity on held-out text."""

from __future__ import annotations

from pydantic import Field

from assay_evaluators.packs.schema import Row

MMLU = "mmlu"
"""5-shot, 16 greedy tokens, first character of the text (Decoding-Compressed-Trust)."""

MMLU_LIKELIHOOD = "mmlu_likelihood"
"""The same prompts; the most likely letter as next token."""

PERPLEXITY = "perplexity"
"""Mean log-likelihood per token of texts that the model has not seen."""

SCENARIOS = (MMLU, MMLU_LIKELIHOOD, PERPLEXITY)
MMLU_FILE = "data/utility/mmlu.jsonl"
MMLU_DEV_FILE = "data/utility/mmlu_dev.jsonl"
PERPLEXITY_FILE = "data/utility/perplexity.jsonl"

MMLU_KEYS = (
    "mmlu.header",
    "mmlu.option_line",
    "mmlu.answer_prompt",
    "mmlu.demonstration_answer",
    "mmlu.choices",
)


class MmluRow(Row):
    """A question of MMLU, test or dev (demonstration).

    Attributes:
        subject: Subject with underscores: `abstract_algebra`.
        question: The question.
        choices: The four options.
        answer: Position of the right one, 0-3 (A-D).
    """

    subject: str = Field(pattern=r"^[a-z0-9_]+$")
    question: str = Field(min_length=1)
    choices: tuple[str, str, str, str]
    answer: int = Field(ge=0, le=3)


class TextRow(Row):
    """A held-out text."""

    text: str = Field(min_length=1)


def prompt_keys(scenario: str) -> tuple[str, ...]:
    """Keys of the texts a scenario's prompts are made of."""
    return () if scenario == PERPLEXITY else MMLU_KEYS
