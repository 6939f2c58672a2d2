"""How an engine is set up: the keyword arguments of `vllm.LLM` and `AsyncEngineArgs`, and Ray's.

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
    memory: dict[str, Any] = {}
    if not cpu and spec.gpu_share:
        memory["gpu_memory_utilization"] = spec.gpu_share
    if not cpu and spec.kv_cache_gib:
        memory["kv_cache_memory_bytes"] = spec.kv_cache_gib * 2**30
    return memory | {
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


def replica_numbers(spec: EngineSpec) -> dict[str, Any]:
    """How many replicas Ray Serve runs: a fixed number, or by load between two.

    A replica that is added takes the wanted artifact from `user_config` before it gets requests.
    """
    if spec.max_replicas <= spec.replicas:
        return {"num_replicas": spec.replicas}
    return {
        "autoscaling_config": {
            "min_replicas": spec.replicas,
            "initial_replicas": spec.replicas,
            "max_replicas": spec.max_replicas,
            "target_ongoing_requests": spec.target_ongoing_requests,
        }
    }


def gpus(spec: EngineSpec) -> float:
    """GPUs of a replica as Ray counts them: whole ones, or a share of one."""
    if spec.device == "cpu":
        return 0
    return spec.gpu_share if 0 < spec.gpu_share < 1 else spec.tensor_parallel_size
