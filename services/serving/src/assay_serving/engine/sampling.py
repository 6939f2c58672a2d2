"""Sampling: our parameters to vLLM's, one engine request per completion.

Completion k of an item draws with seed `base + k` (vLLM gives the children of an n > 1 request the
same seeds). We ask for each completion as its own engine request: it streams back the moment it is
done, missing indices can be asked for alone, and the prefix cache still computes the prompt once.
"""

from __future__ import annotations

from typing import Any

from assay_serving.domain import Sampling

SEED_LIMIT = 2**63


def completion_seed(base: int | None, index: int) -> int | None:
    """Seed of completion `index`: `base + index`, kept within 63 bits; None stays unseeded."""
    return None if base is None else (base + index) % SEED_LIMIT


def engine_arguments(
    sampling: Sampling, *, max_tokens: int, seed: int | None, with_prompt_logprobs: bool
) -> dict[str, Any]:
    """Keyword arguments of `vllm.SamplingParams` for one completion.

    A greedy request has no seed: vLLM would build a generator for nothing. `prompt_logprobs` 0
    means the prompt's own tokens without alternatives; None means none at all.
    """
    greedy = sampling.temperature == 0.0
    return {
        "n": 1,
        "temperature": sampling.temperature,
        "top_p": 1.0 if greedy else sampling.top_p,
        "top_k": 0 if greedy else sampling.top_k,
        "max_tokens": max_tokens,
        "seed": None if greedy else seed,
        "stop": list(sampling.stop),
        "logprobs": sampling.logprobs or None,
        "prompt_logprobs": sampling.logprobs if with_prompt_logprobs else None,
        "skip_special_tokens": not sampling.keep_special_tokens,
    }
