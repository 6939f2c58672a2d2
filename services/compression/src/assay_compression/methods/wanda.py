"""Wanda (Sun et al., 2023): pruning by weights and activations."""

from __future__ import annotations

from torch import Tensor

from assay_compression.methods.inputs import InputStatistics
from assay_compression.methods.masks import BlockPattern, smallest_per_block, smallest_per_row
from assay_compression.methods.routine import (
    Compressed,
    Context,
    Matrix,
    Routine,
    blocks,
    one_by_one,
)
from assay_core.recipes import Wanda


def wanda(
    weight: Tensor, inputs: InputStatistics, *, sparsity: float, pattern: BlockPattern | None
) -> Tensor:
    """Sets the smallest |w_ij| * ||X_j||_2 of every output row, or of every block, to zero."""
    scores = weight.abs() * inputs.column_norms
    mask = smallest_per_block(scores, pattern) if pattern else smallest_per_row(scores, sparsity)
    return weight.masked_fill(mask, 0)


def routine(method: Wanda, _: Context) -> Routine:
    """The recipe's routine."""
    pattern = blocks(method.pattern)

    def run(matrix: Matrix) -> Compressed:
        return Compressed(
            wanda(matrix.weight, matrix.inputs, sparsity=method.sparsity, pattern=pattern)
        )

    return one_by_one(run)
