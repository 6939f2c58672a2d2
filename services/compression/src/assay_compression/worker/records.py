"""What is written down of every layer that is done."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ModuleRecord(BaseModel):
    """One compressed matrix.

    Attributes:
        digest: Digest of its bytes.
        elements: Number of weights.
        relative_error: ||W' - W||_F / ||W||_F.
        zero_fraction: Share of zeros after compression.
        output_error: ||(W' - W) X||_F / ||W X||_F on calibration data; None without data.
        rounded_to_nearest: Whether GPTQ had to round, because its Hessian was singular.
        histogram_edges: Edges of the bins.
        histogram_before: Weights per bin before.
        histogram_after: Weights per bin after.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    digest: str
    elements: int
    relative_error: float
    zero_fraction: float
    output_error: float | None
    rounded_to_nearest: bool = False
    histogram_edges: list[float]
    histogram_before: list[int]
    histogram_after: list[int]


class LayerRecord(BaseModel):
    """What was written for one layer: a record per module, by its full name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layer: int
    modules: dict[str, ModuleRecord]
