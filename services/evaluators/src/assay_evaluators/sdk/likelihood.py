"""Likelihood requests: what is stored of a completion is its measurement, as JSON in `text`.

So shards, resume and parsers stay the same: a parser of such a scenario reads the measurement and
is a pure function of the stored text like any other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from assay_core.errors import Unimplemented
from assay_core.pb import serving_pb2
from assay_evaluators.sdk.paper import cut
from assay_evaluators.sdk.types import Sampling


@dataclass(frozen=True)
class Likelihood:
    """A measurement.

    Attributes:
        tokens: Prompt tokens with a probability (all but the first); None if not asked for.
        logprob: Sum of their natural log-probabilities.
        next_tokens: Text and log-probability of the most likely next tokens, best first.
    """

    tokens: int | None
    logprob: float
    next_tokens: tuple[tuple[str, float], ...]


def stored_text(sampling: Sampling, completion: serving_pb2.Completion) -> str:
    """What a shard keeps of a completion: its text, or the measurement that was asked for.

    Prompt profile `paper` may cut the text.

    Raises:
        Unimplemented: If serving sent no log-probabilities (external endpoints have none).
    """
    if not sampling.is_likelihood or completion.finish_reason == _OVERLENGTH:
        # An empty text has no last character to lose.
        return cut(completion.text, sampling.cut_at) if sampling.cut_at else completion.text
    document: dict[str, Any] = {}
    if sampling.prompt_logprobs:
        entries = completion.prompt_logprobs
        # A prompt of one token has none: its only token is conditioned on nothing.
        if not entries and completion.prompt_tokens > 1:
            raise _no_logprobs()
        document["tokens"] = len(entries)
        document["logprob"] = sum(entry.logprob for entry in entries)
    if sampling.logprobs:
        if not completion.logprobs:
            raise _no_logprobs()
        top = completion.logprobs[0].top
        document["next"] = [[entry.text, entry.logprob] for entry in top]
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def read_measurement(text: str) -> Likelihood | None:
    """The measurement in a stored text; None if the text is none."""
    try:
        document = json.loads(text)
        tokens = document.get("tokens")
        return Likelihood(
            tokens=None if tokens is None else int(tokens),
            logprob=float(document.get("logprob", 0.0)),
            next_tokens=tuple((str(t), float(p)) for t, p in document.get("next", ())),
        )
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return None


_OVERLENGTH = serving_pb2.FINISH_REASON_OVERLENGTH


def _no_logprobs() -> Unimplemented:
    return Unimplemented(
        "serving sent no log-probabilities",
        reason="NO_LOGPROBS",
        remedy="serve the artifact with an engine of ours; run the other scenarios elsewhere",
    )
