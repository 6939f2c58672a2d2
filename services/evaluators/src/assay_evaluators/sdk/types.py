"""The values an evaluation works on: samples, messages, sampling, parsed answers."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

from assay_core.verdicts import Verdict


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
        gold: What else parsers compare an answer with; published nowhere.
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
    """How completions are drawn; `top_k` 0 means all tokens."""

    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    n: int

    def identity(self) -> dict[str, Any]:
        """What of it decides the text of completion k. `n` does not: seeds are per completion."""
        document = asdict(self)
        del document["n"]
        return document


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a parser makes of one completion.

    Attributes:
        verdict: Class of the completion.
        answer: The answer in the dimension's own words; None unless answered.
    """

    verdict: Verdict
    answer: str | None = None


REFUSED = Parsed(Verdict.REFUSED)
UNPARSABLE = Parsed(Verdict.UNPARSABLE)


def answered(answer: str) -> Parsed:
    """An answered completion."""
    return Parsed(Verdict.ANSWERED, answer)


def base_seed(seed: int, scenario: str, sample_id: str) -> int:
    """Seed of a sample's completion 0, 31 bits; completion k is drawn with `base_seed + k`."""
    data = f"{seed}\0{scenario}\0{sample_id}".encode()
    return int.from_bytes(hashlib.sha256(data).digest()[:4]) >> 1
