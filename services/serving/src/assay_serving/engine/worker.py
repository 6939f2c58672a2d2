"""What we add to vLLM's worker: a swap in place that also reaches tied output layers.

On a CPU vLLM multiplies by packed copies of its matrices. A reload packs anew what the checkpoint
has; an output layer tied to the embedding is not in it, and would go on with the copy of the old
weights (vLLM 0.32, `reload/layerwise.py`: "place kernel tensors back as a fallback").
"""

from __future__ import annotations

from typing import Any

from vllm.model_executor.layers.vocab_parallel_embedding import (
    ParallelLMHead,
    UnquantizedEmbeddingMethod,
)


class SwapExtension:
    """Methods of every worker, called by `collective_rpc` (`worker_extension_cls`)."""

    def swap_weights(self, path: str) -> None:
        """Replace the weights by those of the checkpoint at `path`."""
        worker: Any = self
        worker.reload_weights(weights_path=path)
        for layer in worker.get_model().modules():
            if isinstance(layer, ParallelLMHead) and isinstance(
                layer.quant_method, UnquantizedEmbeddingMethod
            ):
                layer.quant_method.process_weights_after_loading(layer)
