"""Utility: accuracy over all questions (micro-average), or 100 / perplexity."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from assay_core.aggregation import Exp, Expr, Mean, Scale
from assay_evaluators.dimensions.utility.parser import log_likelihood
from assay_evaluators.dimensions.utility.scenarios import MMLU, MMLU_LIKELIHOOD, PERPLEXITY
from assay_evaluators.sdk.dimension import Metric, Outcome


def scenario_formula(version: str, scenario: str) -> Expr:
    """100 x accuracy; 100 exp(-mean over texts of the mean -log p per token)."""
    del version
    mean = Mean(scenario=scenario)
    if scenario == PERPLEXITY:
        return Scale(by=100, of=Exp(of=Scale(by=-1, of=mean)))
    return Scale(by=100, of=mean)


def _metric(identifier: str, summary: str, reference: str, scenario: str) -> Metric:
    return Metric(
        id=identifier,
        summary=summary,
        reference=reference,
        scenarios=(scenario,),
        formula=lambda version: scenario_formula(version, scenario),
        scenario_formula=scenario_formula,
        binary=scenario != PERPLEXITY,
    )


METRICS = (
    _metric(
        "mmlu@5shot-generated",
        "100 x share of all questions answered right: raw text, up to 5 shots that fit 2,048 GPT-2"
        " tokens, 16 greedy tokens, leading blanks stripped.",
        "arXiv:2403.15447 (MMLU column); arXiv:2009.03300; spec section 9",
        MMLU,
    ),
    _metric(
        "mmlu@5shot-likelihood",
        "100 x share of all questions whose right letter is the most likely next token; the same"
        " prompts. Several points from the generated one.",
        "arXiv:2009.03300",
        MMLU_LIKELIHOOD,
    ),
    _metric(
        "inverse-perplexity",
        "100 / perplexity of the pack's held-out texts under the model's own tokenizer: texts have"
        " equal weight. Never comparable between tokenizers.",
        "definition",
        PERPLEXITY,
    ),
)


def sub_values(scenario: str, outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Accuracy per subject, macro-average and accuracy among answers; or perplexity of all text."""
    if scenario == PERPLEXITY:
        return _perplexity(outcomes)
    subjects: dict[str, list[float]] = defaultdict(list)
    known: list[float] = []
    for outcome in outcomes:
        if outcome.value is None:
            continue
        subjects[outcome.sample.topic or ""].append(outcome.value)
        if outcome.parsed.answer is not None:
            known.append(outcome.value)
    if not subjects:
        return {}
    means = {subject: fmean(values) for subject, values in sorted(subjects.items())}
    document = {"macro_average": fmean(means.values())}
    if known:
        document["accuracy_answered"] = fmean(known)
    return document | {f"accuracy.subject.{subject}": mean for subject, mean in means.items()}


def _perplexity(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Perplexity over all tokens (long texts weigh more than in the score)."""
    sums = [log_likelihood(o.parsed.answer) for o in outcomes if o.parsed.answer is not None]
    tokens = sum(count for _, count in sums)
    if not tokens:
        return {}
    exponent = -sum(logprob for logprob, _ in sums) / tokens
    values = {"tokens": float(tokens)}
    # What has no finite value is left out: a broken model can have any.
    return values | ({"perplexity": math.exp(exponent)} if exponent < _LARGEST else {})


_LARGEST = 700.0
"""The exponential of more does not fit a double."""
