"""The compressed-tensors format `pack-quantized`, by the library that defines it.

Codes of a row stand one after another in int32 words, lowest bits first, without gaps; scales lie
beside them as `[out, groups]`, zero points, where there are any, packed along the outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from compressed_tensors.config import CompressionFormat
from compressed_tensors.quantization import (
    QuantizationArgs,
    QuantizationConfig,
    QuantizationScheme,
    QuantizationStatus,
)
from torch import Tensor

from assay_compression.methods.grid import GridSpec, Quantized

METHOD = "compressed-tensors"


def pack(quantized: Quantized, *, scale_dtype: torch.dtype) -> dict[str, Tensor]:
    """Tensors of one module by the names that stand after its own."""
    grid = quantized.grid
    packed = {
        "weight_packed": pack_to_int32(quantized.codes, grid.spec.bits).contiguous(),
        "weight_scale": grid.scale.to(scale_dtype).contiguous(),
        "weight_shape": torch.tensor(quantized.codes.shape, dtype=torch.int64),
    }
    if not grid.spec.symmetric:
        zero_point = grid.zero_point.to(torch.int8)
        packed["weight_zero_point"] = pack_to_int32(
            zero_point, grid.spec.bits, packed_dim=0
        ).contiguous()
    return packed


def unpack(tensors: Mapping[str, Tensor], arguments: QuantizationArgs) -> Tensor:
    """The weight `[out, in]` that packed tensors stand for, float32."""
    scheme = QuantizationScheme(targets=["Linear"], weights=arguments)
    state = dict(tensors) | {"weight_scale": tensors["weight_scale"].float()}
    weight: Tensor = PackedQuantizationCompressor.decompress(state, scheme)["weight"]
    return weight.float()


def arguments_of(spec: GridSpec) -> QuantizationArgs:
    """The library's description of a grid."""
    return QuantizationArgs(
        num_bits=spec.bits,
        type="int",
        symmetric=spec.symmetric,
        strategy="group",
        group_size=spec.group_size,
    )


def arguments_in(model_config: Mapping[str, Any]) -> QuantizationArgs:
    """The grid that a checkpoint's config.json describes, of its first group of modules."""
    parsed = QuantizationConfig.model_validate(model_config["quantization_config"])
    arguments = next(iter(parsed.config_groups.values())).weights
    if arguments is None:
        raise ValueError("the group quantizes no weights")
    return arguments


def config(spec: GridSpec, *, ignored: Sequence[str]) -> dict[str, Any]:
    """What stands in config.json as `quantization_config`.

    Args:
        spec: The grid of every module.
        ignored: Linear modules that are not quantized.
    """
    scheme = QuantizationScheme(targets=["Linear"], weights=arguments_of(spec))
    described: dict[str, Any] = QuantizationConfig(
        config_groups={"group_0": scheme},
        format=CompressionFormat.pack_quantized.value,
        quantization_status=QuantizationStatus.COMPRESSED,
        ignore=list(ignored),
    ).model_dump(mode="json", exclude_none=True)
    return described
