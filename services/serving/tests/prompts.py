"""What the tests of engines ask for, and how they read the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assay_core.pb import serving_pb2 as pb

PROMPTS = [
    "the quick brown fox",
    "is water wet?",
    "a careful assistant answers",
    "lazy dog jumps over",
]


def greedy(texts: Sequence[str], *, max_tokens: int = 24) -> list[Any]:
    # Log-probabilities name the tokens, and tokens are what must be equal.
    sampling = pb.SamplingParameters(temperature=0.0, max_tokens=max_tokens, logprobs=1)
    return [
        pb.GenerateItem(id=f"p{i}", text=text, sampling=sampling) for i, text in enumerate(texts)
    ]


def sampled(name: str, *, seed: int, max_tokens: int = 16, **fields: Any) -> Any:
    sampling = pb.SamplingParameters(temperature=1.0, max_tokens=max_tokens)
    return pb.GenerateItem(id=name, text=PROMPTS[0], sampling=sampling, seed=seed, **fields)


def tokens_of(found: dict[tuple[str, int], Any]) -> dict[tuple[str, int], list[int]]:
    return {key: [entry.token_id for entry in c.logprobs] for key, c in found.items()}


def texts_of(found: dict[tuple[str, int], Any]) -> dict[tuple[str, int], str]:
    return {key: completion.text for key, completion in found.items()}
