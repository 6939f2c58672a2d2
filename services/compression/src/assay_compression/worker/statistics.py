"""What compression did to a matrix, in numbers small enough to keep with the artifact."""

from __future__ import annotations

import torch
from torch import Tensor

from assay_compression.methods.inputs import InputStatistics
from assay_compression.worker.records import ModuleRecord

_BINS = 40


def describe_change(
    before: Tensor,
    after: Tensor,
    inputs: InputStatistics | None,
    *,
    digest: str,
    rounded_to_nearest: bool,
) -> ModuleRecord:
    """Compares a matrix before and after, both float32."""
    norm = float(before.norm())
    reach = max(float(before.abs().max()), float(after.abs().max())) or 1.0
    edges = torch.linspace(-reach, reach, _BINS + 1).tolist()
    return ModuleRecord(
        digest=digest,
        elements=before.numel(),
        relative_error=float((after - before).norm()) / norm if norm else 0.0,
        zero_fraction=float((after == 0).sum()) / after.numel(),
        output_error=inputs.output_error(before, after) if inputs is not None else None,
        rounded_to_nearest=rounded_to_nearest,
        histogram_edges=edges,
        histogram_before=_histogram(before, reach),
        histogram_after=_histogram(after, reach),
    )


def _histogram(weight: Tensor, reach: float) -> list[int]:
    counts: list[int] = torch.histc(weight, _BINS, -reach, reach).long().tolist()
    return counts
