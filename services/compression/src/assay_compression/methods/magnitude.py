"""Magnitude pruning (Han et al., 2015)."""

from __future__ import annotations

from torch import Tensor

from assay_compression.methods.masks import BlockPattern, smallest, smallest_per_block
from assay_compression.methods.routine import (
    Compressed,
    Context,
    Matrix,
    Routine,
    blocks,
    one_by_one,
)
from assay_core.recipes import Magnitude


def magnitude(weight: Tensor, *, sparsity: float, pattern: BlockPattern | None) -> Tensor:
    """Sets the smallest |w| to zero: of the whole matrix, or of every block of the pattern."""
    scores = weight.abs()
    mask = smallest_per_block(scores, pattern) if pattern else smallest(scores, sparsity)
    return weight.masked_fill(mask, 0)


def routine(method: Magnitude, _: Context) -> Routine:
    """The recipe's routine."""
    pattern = blocks(method.pattern)

    def run(matrix: Matrix) -> Compressed:
        return Compressed(magnitude(matrix.weight, sparsity=method.sparsity, pattern=pattern))

    return one_by_one(run)
