"""Utility: the letter of an MMLU answer, the likelihood of a letter, the likelihood of a text."""

from __future__ import annotations

import math
import re
from functools import partial

from assay_evaluators.dimensions.utility.scenarios import CHOICES, MMLU, PERPLEXITY
from assay_evaluators.packs.prompts import ASSAY_PARSER, LEGACY_PARSERS, Prompts
from assay_evaluators.sdk import text as shared
from assay_evaluators.sdk.dimension import Parser, ParserVersion
from assay_evaluators.sdk.likelihood import read_measurement
from assay_evaluators.sdk.text import Cleaner, sentences
from assay_evaluators.sdk.types import REFUSED, UNPARSABLE, Parsed, Sample, answered

_END = "</s>"


def build_legacy(prompts: Prompts, version: str) -> Parser:
    """The original's first character, after blanks; likelihoods have one rule only."""
    letters = prompts.texts(CHOICES, version)
    cleaner = Cleaner(prompts)

    def parse(text: str, sample: Sample, index: int) -> Parsed:
        del index
        if sample.scenario != MMLU:
            return parse_likelihood(text, sample, letters)
        # Pitfall not kept: a tokenizer that keeps the leading blank would make every answer a
        # refusal, and an empty text ends the original with an error. The metric's name says so.
        first = text.replace(_END, "").lstrip()[:1].upper()
        # Pitfall kept: "Because" is an answer B.
        return answered(first) if first in letters and first else cleaner.without_answer(text)

    return parse


_LETTER = r"([a-d])(?=\W*$|[.):,;\n]|\s+(?:is|because|since)\b)"
_LEAD = re.compile(
    rf"\W*(?:(?:the )?(?:correct |right |best )?(?:answer|option|choice)(?: is|:)?)?\W*{_LETTER}"
)
_SAID = re.compile(rf"\b(?:answer|option|choice)(?: is|:)?\W*{_LETTER}")


def build_assay(prompts: Prompts) -> Parser:
    """`assay-2026`: a letter that stands alone where an answer stands."""
    letters = prompts.texts(CHOICES)
    cleaner = Cleaner(prompts)

    def parse(text: str, sample: Sample, index: int) -> Parsed:
        del index
        if sample.scenario != MMLU:
            return parse_likelihood(text, sample, letters)
        cleaned = cleaner.clean(text)
        for sentence in sentences(cleaned):
            match = _LEAD.match(sentence) or _SAID.search(sentence)
            if match is not None:
                return answered(match[1].upper())
        return REFUSED if cleaner.refuses(cleaned) else UNPARSABLE

    return parse


def parse_likelihood(text: str, sample: Sample, letters: tuple[str, ...]) -> Parsed:
    """The most likely letter, or the sum and number of a text's token log-probabilities.

    A letter's probability is the sum over tokens that are the letter with or without blanks; a
    letter below the 20 most likely tokens is less likely than each of them, so it cannot win
    unless all are.
    """
    measured = read_measurement(text)
    if measured is None:
        return UNPARSABLE
    if sample.scenario == PERPLEXITY:
        if not measured.tokens or not math.isfinite(measured.logprob):
            return UNPARSABLE
        return answered(f"{measured.logprob!r} {measured.tokens}")
    weights = dict.fromkeys(letters, 0.0)
    for token, logprob in measured.next_tokens:
        if token.strip() in weights and logprob <= 0:
            weights[token.strip()] += math.exp(logprob)
    best = max(letters, key=weights.__getitem__, default="")
    return answered(best) if weights.get(best) else UNPARSABLE


def log_likelihood(answer: str) -> tuple[float, int]:
    """Sum of log-probabilities and number of tokens in a perplexity answer."""
    logprob, tokens = answer.split()
    return float(logprob), int(tokens)


def value(parsed: Parsed, sample: Sample) -> float | None:
    """1 for the right letter, no answer is wrong; for texts the mean -log p per token."""
    if sample.scenario != PERPLEXITY:
        return float(parsed.answer == sample.label)
    if parsed.answer is None:
        return None
    logprob, tokens = log_likelihood(parsed.answer)
    return -logprob / tokens


VERSIONS = (
    ParserVersion(
        version=ASSAY_PARSER,
        summary="A letter that stands alone where an answer stands; no answer is wrong.",
        build=build_assay,
        keys=(CHOICES, *shared.KEYS),
        value=value,
        refusal_rule="refused",
        merged_refusal=False,
    ),
    *(
        ParserVersion(
            version=version,
            summary="First character after blanks, upper-cased; no answer is wrong."
            + (" DecodingTrust has no MMLU: same rule." if version == "dt-2024-09" else ""),
            build=partial(build_legacy, version=version),
            keys=(CHOICES, *shared.KEYS),
            value=value,
            refusal_rule="no letter A-D first",
            merged_refusal=True,
        )
        for version in LEGACY_PARSERS
    ),
)
