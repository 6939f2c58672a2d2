"""AWQ (Lin et al., 2023): scales salient input channels, then rounds to nearest.

The matrices that see one input share a scale s per channel, since W x = (W diag(s)) (diag(s)^-1 x)
and what comes before them can take over the division. s = mean |x|^alpha, and alpha is the one of
20 points of [0, 1] with the least output error (equations 4 and 5); alpha = 0 is round-to-nearest.
The error is that of the matrices' own outputs, over all calibration tokens, from second moments.
As in llm-compressor, weights are not clipped. Where nothing can take over the division s is 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from assay_compression.methods.grid import GridSpec, Quantized, fit, round_to_nearest
from assay_compression.methods.inputs import InputStatistics
from assay_compression.methods.routine import Compressed, Context, Matrix, Routine
from assay_core.recipes import Awq

_POINTS = 20
_SMALLEST = 1e-4


def awq(
    weights: Sequence[Tensor], inputs: InputStatistics, spec: GridSpec, *, scale_dtype: torch.dtype
) -> list[Quantized]:
    """Quantizes the matrices that see one input, with the best shared scale of its channels.

    Args:
        weights: `[out, in]` each, float32.
        inputs: Statistics of their common input.
        spec: Shape of the grid.
        scale_dtype: Type that the grid's scales are rounded to.
    """

    def error(candidate: list[Quantized]) -> float:
        pairs = zip(weights, candidate, strict=True)
        return sum(inputs.squared_error(quantized.weight - weight) for weight, quantized in pairs)

    candidates = (
        [_scaled(weight, scale, spec, scale_dtype) for weight in weights]
        for scale in _channel_scales(inputs.mean_size)
    )
    return min(candidates, key=error)


def _channel_scales(size: Tensor) -> list[Tensor]:
    """The grid of scales `[in]`, each with geometric middle 1 between its ends."""
    scales = [size.pow(i / (_POINTS - 1)).clamp(min=_SMALLEST) for i in range(_POINTS)]
    return [scale / (scale.max() * scale.min()).sqrt() for scale in scales]


def _scaled(
    weight: Tensor, channel_scale: Tensor, spec: GridSpec, scale_dtype: torch.dtype
) -> Quantized:
    scaled = weight * channel_scale
    plain = round_to_nearest(scaled, fit(scaled, spec, scale_dtype=scale_dtype))
    return Quantized(plain.grid, plain.codes, channel_scale)


def routine(method: Awq, context: Context) -> Routine:
    """The recipe's routine. Zero points are kept, as in the paper's grids."""
    spec = GridSpec(method.bits, method.group_size, symmetric=False)

    def run(matrices: Sequence[Matrix]) -> list[Compressed]:
        weights = [matrix.weight for matrix in matrices]
        if matrices[0].may_scale:
            found = awq(weights, matrices[0].inputs, spec, scale_dtype=context.scale_dtype)
        else:
            grids = (fit(weight, spec, scale_dtype=context.scale_dtype) for weight in weights)
            found = [round_to_nearest(w, g) for w, g in zip(weights, grids, strict=True)]
        return [Compressed.of(quantized) for quantized in found]

    return run
