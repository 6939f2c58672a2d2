"""Sampling: what the engine is told, and the seed rule."""

from __future__ import annotations

from assay_serving.domain import Sampling
from assay_serving.engine.sampling import SEED_LIMIT, completion_seed, engine_arguments


def test_completion_k_draws_with_seed_base_plus_k():
    assert [completion_seed(41, k) for k in range(3)] == [41, 42, 43]


def test_a_seed_stays_within_63_bits_and_absent_stays_absent():
    assert completion_seed(SEED_LIMIT - 1, 1) == 0
    assert completion_seed(None, 7) is None


def test_every_sampling_field_reaches_the_engine():
    sampling = Sampling(
        temperature=0.7,
        top_p=0.9,
        top_k=40,
        max_tokens=150,
        stop=("\n",),
        logprobs=5,
        keep_special_tokens=True,
    )
    assert engine_arguments(sampling, max_tokens=150, seed=3, with_prompt_logprobs=True) == {
        "n": 1,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 40,
        "max_tokens": 150,
        "seed": 3,
        "stop": ["\n"],
        "logprobs": 5,
        "prompt_logprobs": 5,
        "skip_special_tokens": False,
    }


def test_greedy_has_no_seed_and_no_filters():
    arguments = engine_arguments(
        Sampling(temperature=0.0, top_p=0.5, top_k=3),
        max_tokens=16,
        seed=9,
        with_prompt_logprobs=False,
    )
    assert (arguments["seed"], arguments["top_p"], arguments["top_k"]) == (None, 1.0, 0)
    assert arguments["logprobs"] is None
    assert arguments["prompt_logprobs"] is None
