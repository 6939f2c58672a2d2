"""GPTQ (Frantar et al., 2022), by llm-compressor's tensor routine."""

from __future__ import annotations

import torch
from compressed_tensors.quantization import QuantizationArgs
from llmcompressor.modifiers.gptq.gptq_quantize import quantize_weight
from torch import Tensor

from assay_compression.methods.grid import GridSpec, Quantized, fit, round_to_nearest
from assay_compression.methods.inputs import InputStatistics
from assay_compression.methods.routine import Compressed, Context, Matrix, Routine, one_by_one
from assay_core.recipes import Gptq

_BLOCK_COLUMNS = 128


def gptq(
    weight: Tensor,
    inputs: InputStatistics,
    spec: GridSpec,
    *,
    act_order: bool,
    damping: float,
    scale_dtype: torch.dtype,
) -> Compressed:
    """Quantizes column by column and moves each error to the columns after it.

    Grids are fitted to the original weights, as in round-to-nearest; act-order changes only the
    order of the columns, so that groups stay where they are (static groups).

    Args:
        weight: `[out, in]`, float32.
        inputs: Statistics of the inputs.
        spec: Shape of the grid.
        act_order: Columns with large inputs first.
        damping: Added to the Hessian's diagonal, as a share of its mean.
        scale_dtype: Type that scales are rounded to.

    Returns:
        The matrix. If the damped Hessian cannot be inverted it is rounded to nearest, and says so.
    """
    grid = fit(weight, spec, scale_dtype=scale_dtype)
    try:
        quantized, _, fell_back = quantize_weight(
            weights=weight.clone().unsqueeze(0),
            hessians=inputs.hessian.unsqueeze(0),
            scale=grid.scale.unsqueeze(0),
            zero_point=grid.zero_point.unsqueeze(0),
            global_scale=None,
            quant_args=QuantizationArgs(
                num_bits=spec.bits,
                type="int",
                symmetric=spec.symmetric,
                strategy="group",
                group_size=spec.group_size,
                actorder="weight" if act_order else None,
            ),
            blocksize=_BLOCK_COLUMNS,
            percdamp=damping,
        )
    except torch.linalg.LinAlgError:
        # The routine falls back itself, except where moments are too small for float32.
        return Compressed.of(round_to_nearest(weight, grid), rounded_to_nearest=True)
    codes = grid.codes(quantized.squeeze(0)).to(torch.int8)
    return Compressed.of(Quantized(grid, codes), rounded_to_nearest=bool(fell_back.any()))


def routine(method: Gptq, context: Context) -> Routine:
    """The recipe's routine."""
    spec = GridSpec(method.bits, method.group_size, method.symmetric)

    def run(matrix: Matrix) -> Compressed:
        return gptq(
            matrix.weight,
            matrix.inputs,
            spec,
            act_order=method.act_order,
            damping=method.damping,
            scale_dtype=context.scale_dtype,
        )

    return one_by_one(run)
