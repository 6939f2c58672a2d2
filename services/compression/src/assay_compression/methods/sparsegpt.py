"""SparseGPT (Frantar and Alistarh, 2023): pruning that moves each error to the weights after it.

The same numbers as llm-compressor's `sparsify_weight`, bit by bit on a CPU (tested). That routine
launches some fifteen kernels per column, which on a GPU takes longer than all the rest of a job;
here a column takes four, on rows of memory.
"""

from __future__ import annotations

import torch
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
    """Prunes column by column and moves each error to the columns after it.

    Args:
        weight: `[out, in]`, float32.
        inputs: Statistics of the inputs.
        sparsity: Share of every block of 128 columns that is pruned, without a pattern.
        pattern: Pruned of every few columns of a row, in place of a share.
        damping: Added to the Hessian's diagonal, as a share of its mean. If the damped Hessian
            cannot be inverted, weights are pruned by size and no error is moved.
    """
    hessian = inputs.hessian
    dead = hessian.diagonal() == 0
    hessian.diagonal().masked_fill_(dead, 1)
    result = weight.masked_fill(dead, 0)
    factor = _factor(hessian, damping)
    for first in range(0, weight.shape[1], _BLOCK_COLUMNS):
        last = min(first + _BLOCK_COLUMNS, weight.shape[1])
        own = factor[first:last, first:last]
        pruned, errors = _prune_block(result[:, first:last], own, sparsity, pattern)
        result[:, first:last] = pruned
        result[:, last:] -= errors.matmul(factor[first:last, last:])
    return result


def _factor(hessian: Tensor, damping: float) -> Tensor:
    """Upper Cholesky factor of the inverse of the damped Hessian; the identity if there is none."""
    hessian.diagonal().add_(damping * hessian.diag().mean())
    try:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
        factor: Tensor = torch.linalg.cholesky(inverse, upper=True)
    except torch.linalg.LinAlgError:
        return torch.eye(len(hessian), device=hessian.device)
    return factor


def _prune_block(
    block: Tensor, factor: Tensor, sparsity: float, pattern: BlockPattern | None
) -> tuple[Tensor, Tensor]:
    """The pruned block `[out, columns]`, and each column's error in units of its diagonal."""
    # A column is one row here: contiguous memory.
    columns = block.T.contiguous()
    diagonal = factor.diagonal()
    importance = _importance(columns, diagonal)
    if pattern is None:
        threshold = importance.flatten().sort()[0][int(importance.numel() * sparsity)]
        pruned = importance <= threshold
    else:
        pruned = torch.zeros_like(columns, dtype=torch.bool)
    errors = torch.empty_like(columns)
    for i, column in enumerate(columns):
        if pattern is not None and i % pattern.size == 0:
            # Of a pattern's columns, as the columns before them have left them.
            part = slice(i, i + pattern.size)
            importance = _importance(columns[part], diagonal[part])
            least = importance.topk(pattern.zeros, dim=0, largest=False)[1]
            pruned[part].scatter_(0, least, value=True)
        error = torch.mul(column, pruned[i], out=errors[i]).div_(diagonal[i])
        columns[i + 1 :] -= factor[i, i + 1 :, None] * error
    return columns.masked_fill_(pruned, 0).T, errors.T


def _importance(columns: Tensor, diagonal: Tensor) -> Tensor:
    """What pruning a weight would cost (section 3, after Optimal Brain Surgeon)."""
    return columns**2 / diagonal[:, None] ** 2


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
