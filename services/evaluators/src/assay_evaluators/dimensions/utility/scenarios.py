"""Utility: MMLU in two protocols, and perplexity on held-out text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from pydantic import Field

from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.packs.schema import Row
from assay_evaluators.sdk.dimension import RowContext
from assay_evaluators.sdk.gpt2 import count_tokens
from assay_evaluators.sdk.types import Sample, Sampling

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

SHOTS = 5
CROP_TOKENS = 2048
"""Longest prompt in GPT-2 tokens, whatever the model: the rule of MMLU's own program."""

_MARGIN = 64
# Serving gives at most 20 alternatives per position.
_NEXT_TOKENS = 20
_GREEDY = Sampling(temperature=0.0, top_p=1.0, top_k=0, max_tokens=16, n=1)
SAMPLING = {
    MMLU: _GREEDY,
    MMLU_LIKELIHOOD: replace(_GREEDY, max_tokens=1, logprobs=_NEXT_TOKENS),
    PERPLEXITY: replace(_GREEDY, max_tokens=1, prompt_logprobs=True),
}
"""The same in both profiles: the original's T = 1e-7 is greedy."""

CHOICES = "mmlu.choices"
MMLU_KEYS = (
    "mmlu.header",
    "mmlu.option_line",
    "mmlu.answer_prompt",
    "mmlu.demonstration_answer",
    CHOICES,
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


def render_mmlu(rows: Sequence[MmluRow], context: RowContext) -> Iterator[Sample]:
    """Raw text for completion: header, as many of 5 shots as fit, question. No chat template.

    The original would not end where a question alone does not fit; here it is asked without shots.
    """
    prompts = context.prompts
    letters = prompts.texts(CHOICES)
    shots: dict[str, list[str]] = defaultdict(list)
    for row in context.pack.rows(MMLU_DEV_FILE, MmluRow):
        answer = prompts.filled("mmlu.demonstration_answer", letters[row.answer])
        shots[row.subject].append(question_text(prompts, row) + answer)
    for row in rows:
        header = prompts.filled("mmlu.header", subject_text(row.subject))
        yield Sample(
            scenario=context.scenario,
            id=row.id,
            cluster_id=row.cluster_id,
            messages=(),
            text=cropped(header, shots[row.subject][:SHOTS], question_text(prompts, row)),
            topic=row.subject,
            label=letters[row.answer],
        )


def render_texts(rows: Sequence[TextRow], context: RowContext) -> Iterator[Sample]:
    """The texts as they are."""
    for row in rows:
        yield Sample(
            scenario=context.scenario,
            id=row.id,
            cluster_id=row.cluster_id,
            messages=(),
            text=row.text,
        )


def cropped(header: str, shots: Sequence[str], question: str) -> str:
    """The prompt with the most leading shots that fit into 2,048 GPT-2 tokens."""
    # Most prompts fit by far, and that needs no count of the whole: joining texts can change the
    # encoding only where they meet.
    room = CROP_TOKENS - _MARGIN - _known_tokens(header) - count_tokens(question)
    for count in range(len(shots), 0, -1):
        prompt = header + "".join(shots[:count]) + question
        parts = sum(_known_tokens(shot) for shot in shots[:count])
        if parts <= room or count_tokens(prompt) <= CROP_TOKENS:
            return prompt
    return header + question


_known_tokens = lru_cache(maxsize=1024)(count_tokens)
"""Headers and demonstrations come again with every question of their subject."""


def question_text(prompts: Prompts, row: MmluRow) -> str:
    """Question, four options and the words before the answer."""
    letters = prompts.texts(CHOICES)
    options = "".join(
        prompts.filled("mmlu.option_line", letter, text)
        for letter, text in zip(letters, row.choices, strict=True)
    )
    return row.question + options + prompts.text("mmlu.answer_prompt")


def subject_text(subject: str) -> str:
    """A subject in the header: blanks for underscores, and one in front as in the original."""
    return " " + subject.replace("_", " ")
