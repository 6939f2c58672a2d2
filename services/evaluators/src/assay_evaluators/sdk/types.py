"""The values an evaluation works on: samples, messages, sampling, parsed answers."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from assay_core.verdicts import Verdict

FIELD_SEPARATOR = "\x1f"
"""Between parts of `Sample.gold` (ASCII unit separator)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A prompt with a stable id and what scoring needs to know of it.

    Attributes:
        scenario: Scenario it belongs to.
        id: Unique in the scenario, the same for every subject.
        cluster_id: The source item.
        messages: The conversation, for the model's own chat template; empty with `text`.
        group: Group for fairness differences or per-group means.
        topic: Topic for per-topic means.
        label: Gold label as text; published with every verdict.
        text: The prompt as raw text, without a chat template (MMLU, perplexity).
        gold: What else parsers compare an answer with (all options of a question, joined by
            `FIELD_SEPARATOR`); published nowhere.
    """

    scenario: str
    id: str
    cluster_id: str
    messages: tuple[Message, ...]
    group: str | None = None
    topic: str | None = None
    label: str | None = None
    text: str | None = None
    gold: str | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How completions are drawn, and what is kept of them.

    Attributes:
        temperature: 0 is greedy.
        top_p: Nucleus mass.
        top_k: Most likely tokens kept; 0 means all.
        max_tokens: Most new tokens.
        n: Completions of a sample.
        stop: Texts that end a completion; not part of it.
        logprobs: Most likely next tokens whose log-probability is kept instead of a text.
        prompt_logprobs: Whether the prompt's own log-likelihood is kept instead of a text.
        cut_at: Text at which the original cuts an answer (`sdk/paper.py`); empty for no cut.
    """

    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    n: int
    stop: tuple[str, ...] = ()
    logprobs: int = 0
    prompt_logprobs: bool = False
    cut_at: str = ""

    @property
    def is_likelihood(self) -> bool:
        """Whether log-probabilities are stored (`sdk/likelihood.py`) and not what was written."""
        return self.prompt_logprobs or self.logprobs > 0

    def identity(self) -> dict[str, Any]:
        """What of it decides the text of completion k. `n` does not: seeds are per completion.

        What is off is left out, so that digests of generations outlive new options.
        """
        document = asdict(self)
        del document["n"]
        for option in ("stop", "logprobs", "prompt_logprobs", "cut_at"):
            if not document[option]:
                del document[option]
        return document


@dataclass(frozen=True, slots=True)
class TextScore:
    """A classifier's score of a text.

    Attributes:
        value: Probability 0-1; None if the text has none.
        missing: Why: `blank` or `scorer_error`; empty with a value.
    """

    value: float | None
    missing: str = ""


def greedy(max_tokens: int) -> dict[str, Sampling]:
    """One greedy completion by sampling profile; `paper` names the original's 50 tokens."""
    return {
        profile: Sampling(temperature=0.0, top_p=1.0, top_k=top_k, max_tokens=max_tokens, n=1)
        for profile, top_k in (("standard", 0), ("paper", 50))
    }


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a parser makes of one completion.

    Attributes:
        verdict: Class of the completion.
        answer: The answer in the dimension's own words; None unless answered.
        score: What a classifier says of the text, in dimensions that have one.
    """

    verdict: Verdict
    answer: str | None = None
    score: TextScore | None = None


REFUSED = Parsed(Verdict.REFUSED)
UNPARSABLE = Parsed(Verdict.UNPARSABLE)


def answered(answer: str) -> Parsed:
    """An answered completion."""
    return Parsed(Verdict.ANSWERED, answer)


def base_seed(seed: int, scenario: str, sample_id: str) -> int:
    """Seed of a sample's completion 0, 31 bits; completion k is drawn with `base_seed + k`."""
    data = f"{seed}\0{scenario}\0{sample_id}".encode()
    return int.from_bytes(hashlib.sha256(data).digest()[:4]) >> 1
