"""How an engine is set up: the keyword arguments of `vllm.LLM` and `AsyncEngineArgs`.

Pure, so that the benchmark starts its offline engine with the same ones.
"""

from __future__ import annotations

from typing import Any

from assay_serving.domain import EngineSpec

MAX_NUM_SEQS = 256
"""Sequences in one step. vLLM gives an AsyncLLM half of what it gives an offline `LLM`."""

MAX_BATCHED_TOKENS = 4096
"""Tokens in one step, where the context is not longer: vLLM's own number for an offline `LLM`."""


def engine_keywords(path: str, spec: EngineSpec) -> dict[str, Any]:
    """Keyword arguments for an engine on the checkpoint at `path`."""
    cpu = spec.device == "cpu"
    return {
        "model": path,
        "dtype": spec.dtype,
        "kv_cache_dtype": spec.kv_cache_dtype,
        "max_model_len": spec.max_model_len,
        "tensor_parallel_size": spec.tensor_parallel_size,
        "enforce_eager": cpu,
        "enable_prefix_caching": True,
        # vLLM's default on a CPU is 128 tokens: shorter prompts would never be shared by the
        # completions of one item.
        "block_size": 32 if cpu else None,
        # A prompt cut into chunks draws a token per chunk and rewinds the request's random
        # generator after each; CPU generators cannot, and the engine dies (vLLM 0.32,
        # gpu_model_runner._bookkeeping_sync).
        "enable_chunked_prefill": not cpu,
        "max_num_seqs": MAX_NUM_SEQS if cpu else None,
        "max_num_batched_tokens": max(MAX_BATCHED_TOKENS, spec.max_model_len) if cpu else None,
        "trust_remote_code": False,
        "load_format": "safetensors",
        "generation_config": "vllm",
        "worker_extension_cls": "assay_serving.engine.worker.SwapExtension",
    }
