"""Pruning masks: which weights become zero. True means pruned.

Every mask prunes an exact count, ties broken by position, so that the same scores give the same
mask on every device. N:M blocks run along the input dimension of a `[out, in]` matrix, the last.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BlockPattern:
    """`zeros` weights pruned in every block of `size` along the input dimension."""

    zeros: int
    size: int


def smallest(scores: Tensor, sparsity: float) -> Tensor:
    """Prunes the smallest scores of a whole tensor: exactly `floor(sparsity * numel)` of them."""
    return _lowest(scores.reshape(1, -1), int(sparsity * scores.numel())).reshape(scores.shape)


def smallest_per_row(scores: Tensor, sparsity: float) -> Tensor:
    """Prunes the smallest scores of each output row: exactly `floor(sparsity * in)` per row."""
    return _lowest(scores, int(sparsity * scores.shape[-1]))


def smallest_per_block(scores: Tensor, pattern: BlockPattern) -> Tensor:
    """Prunes the smallest scores of each block: exactly `pattern.zeros` in every one.

    Raises:
        ValueError: If blocks do not divide the input dimension.
    """
    if scores.shape[-1] % pattern.size:
        raise ValueError(f"blocks of {pattern.size} do not divide {scores.shape[-1]} inputs")
    blocks = scores.unflatten(-1, (-1, pattern.size))
    return _lowest(blocks, pattern.zeros).reshape(scores.shape)


def _lowest(scores: Tensor, count: int) -> Tensor:
    # A stable sort, not topk: topk may choose any of several equal scores.
    chosen = torch.sort(scores, dim=-1, stable=True).indices[..., :count]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, chosen, value=True)
