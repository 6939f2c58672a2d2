"""What is written down of every layer that is done."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ScaleRecord(BaseModel):
    """The quantization scales of a matrix."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: int
    min: float
    median: float
    max: float
    mean: float
    standard_deviation: float


class ModuleRecord(BaseModel):
    """One compressed matrix.

    Attributes:
        digest: Digest of its bytes.
        elements: Number of weights.
        relative_error: ||W' - W||_F / ||W||_F.
        zero_fraction: Share of zeros after compression.
        norm: ||W||_F, to pool errors.
        output_error: ||(W' - W) X||_F / ||W X||_F on calibration data; None without data.
        output_norm: ||W X||_F per token, to pool output errors; None without data.
        zeros_per_block: Shares of blocks of four weights along the inputs with 0 to 4 zeros; empty
            where blocks of four do not divide the inputs.
        scales: Statistics of the quantization scales; None unless it was quantized.
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
    norm: float
    output_error: float | None
    output_norm: float | None
    zeros_per_block: list[float]
    scales: ScaleRecord | None
    rounded_to_nearest: bool = False
    histogram_edges: list[float]
    histogram_before: list[int]
    histogram_after: list[int]


class LayerRecord(BaseModel):
    """What was written for one layer.

    Attributes:
        layer: Its number; the output head counts as the one after the last, an embedding of its
            own as the one after that.
        integers: Digest of the file with its integers; None for the dense layout.
        modules: A record per module, by its full name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    layer: int
    integers: str | None = None
    modules: dict[str, ModuleRecord]
