"""SparseGPT (Frantar and Alistarh, 2023), by llm-compressor's tensor routine."""

from __future__ import annotations

import torch
from llmcompressor.modifiers.pruning.sparsegpt.sgpt_sparsify import sparsify_weight
from torch import Tensor

from assay_compression.methods.inputs import InputStatistics
from assay_compression.methods.masks import BlockPattern
from assay_compression.methods.routine import (
    Compressed,
    Context,
    Matrix,
    Routine,
    blocks,
    one_by_one,
)
from assay_core.recipes import SparseGpt

_BLOCK_COLUMNS = 128


def sparsegpt(
    weight: Tensor,
    inputs: InputStatistics,
    *,
    sparsity: float,
    pattern: BlockPattern | None,
    damping: float,
) -> Tensor:
    """Prunes column by column and moves each error to the columns after it."""
    module = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    module.weight = torch.nn.Parameter(weight.clone(), requires_grad=False)
    _, pruned = sparsify_weight(
        module=module,
        hessians_dict={module: inputs.hessian},
        sparsity=sparsity,
        prune_n=pattern.zeros if pattern else 0,
        prune_m=pattern.size if pattern else 0,
        block_size=_BLOCK_COLUMNS,
        dampening_frac=damping,
        preserve_sparsity_mask=False,
    )
    result: Tensor = pruned
    return result


def routine(method: SparseGpt, _: Context) -> Routine:
    """The recipe's routine."""
    pattern = blocks(method.pattern)

    def run(matrix: Matrix) -> Compressed:
        return Compressed(
            sparsegpt(
                matrix.weight,
                matrix.inputs,
                sparsity=method.sparsity,
                pattern=pattern,
                damping=method.damping,
            )
        )

    return one_by_one(run)
