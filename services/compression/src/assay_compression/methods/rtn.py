"""Round-to-nearest: the plain baseline of weight quantization."""

from __future__ import annotations

import torch
from torch import Tensor

from assay_compression.methods.grid import GridSpec, Quantized, fit, round_to_nearest
from assay_compression.methods.routine import Compressed, Context, Matrix, Routine, one_by_one
from assay_core.recipes import Rtn


def rtn(weight: Tensor, spec: GridSpec, *, scale_dtype: torch.dtype) -> Quantized:
    """Rounds every weight to the nearest point of its group's grid."""
    return round_to_nearest(weight, fit(weight, spec, scale_dtype=scale_dtype))


def routine(method: Rtn, context: Context) -> Routine:
    """The recipe's routine."""
    spec = GridSpec(method.bits, method.group_size, method.symmetric)

    def run(matrix: Matrix) -> Compressed:
        return Compressed.of(rtn(matrix.weight, spec, scale_dtype=context.scale_dtype))

    return one_by_one(run)
