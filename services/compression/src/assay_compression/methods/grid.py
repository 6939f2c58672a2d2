"""Uniform integer grids for weights, one scale (and zero point) per group of input columns.

With b bits the codes are -2^(b-1) .. 2^(b-1)-1. Symmetric: scale = max|w| / (2^b - 1) * 2, zero
point 0. Asymmetric: the range of the group, widened to hold 0, spans the codes. A weight w becomes
scale * (clamp(round(w / scale) + zero_point) - zero_point), so that |w - q(w)| <= scale / 2 with a
symmetric grid and <= scale with an asymmetric one, whose zero point is rounded too. This is the
convention of compressed-tensors, whose packed formats hold the same codes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GridSpec:
    """Bits, columns per group, and whether the grid is symmetric about zero."""

    bits: int
    group_size: int
    symmetric: bool = True

    @property
    def lowest(self) -> int:
        """Smallest code."""
        return -(1 << (self.bits - 1))

    @property
    def highest(self) -> int:
        """Largest code."""
        return (1 << (self.bits - 1)) - 1


@dataclass(frozen=True)
class Grid:
    """Scales and zero points of one matrix.

    Attributes:
        spec: The grid's shape.
        scale: `[out, groups]`, float32, positive.
        zero_point: `[out, groups]`, float32 holding integers within the code range.
    """

    spec: GridSpec
    scale: Tensor
    zero_point: Tensor

    def codes(self, weight: Tensor) -> Tensor:
        """Nearest code of every weight, as float32 integers `[out, in]`."""
        groups = weight.unflatten(-1, (-1, self.spec.group_size))
        scaled = groups / self.scale[..., None] + self.zero_point[..., None]
        return scaled.round().clamp(self.spec.lowest, self.spec.highest).reshape(weight.shape)

    def values(self, codes: Tensor) -> Tensor:
        """Weights that codes stand for, float32 `[out, in]`."""
        groups = codes.unflatten(-1, (-1, self.spec.group_size))
        return ((groups - self.zero_point[..., None]) * self.scale[..., None]).reshape(codes.shape)


@dataclass(frozen=True)
class Quantized:
    """A matrix as integers: what packed layouts store.

    Attributes:
        grid: The grid of `weight * channel_scale`.
        codes: int8 `[out, in]`.
        channel_scale: `[in]`, float32: what the input channels were multiplied by before
            rounding (AWQ); None for all ones.
    """

    grid: Grid
    codes: Tensor
    channel_scale: Tensor | None = None

    @property
    def weight(self) -> Tensor:
        """The matrix that the integers stand for, float32 `[out, in]`."""
        values = self.grid.values(self.codes.float())
        return values if self.channel_scale is None else values / self.channel_scale


def fit(weight: Tensor, spec: GridSpec, *, scale_dtype: torch.dtype = torch.float32) -> Grid:
    """Fits the min-max grid of every group.

    Args:
        weight: `[out, in]`, float32.
        spec: Shape of the grid; its groups must divide the input dimension.
        scale_dtype: What a packed checkpoint would store scales in; they are rounded to it, so
            that the dense layout holds just what the packed one would.

    Raises:
        ValueError: If groups do not divide the input dimension.
    """
    if weight.shape[-1] % spec.group_size:
        raise ValueError(f"groups of {spec.group_size} do not divide {weight.shape[-1]} inputs")
    groups = weight.unflatten(-1, (-1, spec.group_size))
    low = groups.amin(-1).clamp(max=0)
    high = groups.amax(-1).clamp(min=0)
    # A tensor: CUDA would multiply by the reciprocal of a plain number, which rounds differently.
    span = weight.new_tensor(spec.highest - spec.lowest)
    scale = torch.maximum(-low, high) / (span / 2) if spec.symmetric else (high - low) / span
    scale = scale.to(scale_dtype).float()
    # A group of zeros: any positive scale gives zeros back.
    scale = torch.where(scale == 0, torch.full_like(scale, torch.finfo(scale_dtype).eps), scale)
    if spec.symmetric:
        zero_point = torch.zeros_like(scale)
    else:
        zero_point = (spec.lowest - low / scale).round().clamp(spec.lowest, spec.highest)
    return Grid(spec, scale, zero_point)


def round_to_nearest(weight: Tensor, grid: Grid) -> Quantized:
    """Round-to-nearest quantization: every weight moves to its nearest point of the grid."""
    return Quantized(grid, grid.codes(weight).to(torch.int8))
