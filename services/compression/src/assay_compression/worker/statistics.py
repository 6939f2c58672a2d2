"""What compression did to a matrix, in numbers small enough to keep with the artifact."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from assay_compression.methods.inputs import InputStatistics
from assay_compression.methods.routine import Compressed
from assay_compression.worker.records import ModuleRecord, ScaleRecord

_BINS = 40
_BLOCK = 4
# The library counts in float32, which holds every whole number up to here.
_EXACT = 1 << 24


def describe_change(
    before: Tensor,
    after: Tensor,
    inputs: InputStatistics | None,
    compressed: Compressed,
    *,
    digest: str,
) -> ModuleRecord:
    """Compares a matrix before and after, both float32 `[out, in]` and as they are stored."""
    norm = float(before.norm())
    reach = max(float(before.abs().max()), float(after.abs().max())) or 1.0
    edges = torch.linspace(-reach, reach, _BINS + 1).tolist()
    return ModuleRecord(
        digest=digest,
        elements=before.numel(),
        relative_error=float((after - before).norm()) / norm if norm else 0.0,
        zero_fraction=float((after == 0).sum()) / after.numel(),
        norm=norm,
        output_error=inputs.output_error(before, after) if inputs is not None else None,
        output_norm=math.sqrt(inputs.squared_error(before)) if inputs is not None else None,
        zeros_per_block=_zeros_per_block(after),
        scales=_scales(compressed.quantized.grid.scale) if compressed.quantized else None,
        rounded_to_nearest=compressed.rounded_to_nearest,
        histogram_edges=edges,
        histogram_before=_histogram(before, reach),
        histogram_after=_histogram(after, reach),
    )


def _zeros_per_block(weight: Tensor) -> list[float]:
    if weight.shape[-1] % _BLOCK:
        return []
    zeros = (weight == 0).unflatten(-1, (-1, _BLOCK)).sum(-1).flatten()
    shares: list[float] = (torch.bincount(zeros, minlength=_BLOCK + 1) / len(zeros)).tolist()
    return shares


def _scales(scale: Tensor) -> ScaleRecord:
    return ScaleRecord(
        count=scale.numel(),
        min=float(scale.min()),
        median=float(scale.median()),
        max=float(scale.max()),
        mean=float(scale.mean()),
        standard_deviation=float(scale.std(correction=0)),
    )


def _histogram(weight: Tensor, reach: float) -> list[int]:
    if weight.device.type == "cpu":
        parts = weight.flatten().split(_EXACT)
        each = [torch.histc(part, _BINS, -reach, reach).long() for part in parts]
        total = torch.stack(each).sum(0)
    else:
        total = counted(weight, reach)
    counts: list[int] = total.tolist()
    return counts


def counted(weight: Tensor, reach: float) -> Tensor:
    """`torch.histc` over [-reach, reach] in whole numbers: on CUDA that has no deterministic form.

    The rule for bins is the library's, so that both devices tell the same.
    """
    half = weight.new_tensor(reach)
    bins = ((weight + half) * _BINS / (half + half)).to(torch.uint8).clamp_(max=_BINS - 1)
    return torch.bincount(bins.flatten(), minlength=_BINS)
