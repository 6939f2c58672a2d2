"""The GPTQ checkpoint format of AutoGPTQ and GPTQModel.

`qweight` int32 `[in * bits / 32, out]`: codes of a column one after another, lowest bits first,
without gaps. `qzeros` int32 `[groups, out * bits / 32]`, `scales` `[groups, out]`, `g_idx` int32
`[in]`: the group of every input. Codes count from 0. The first version (`gptq`) stores zero points
less one, so that a zero point of 0 cannot be stored; the second (`gptq_v2`) stores them as they
are. A weight is `scales[g] * (code - zero[g])`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32, unpack_from_int32
from torch import Tensor

from assay_compression.formats import GPTQ_SCALE_DTYPE
from assay_compression.methods.grid import GridSpec, Quantized
from assay_core.recipes import Gptq

METHOD = "gptq"
FIRST, SECOND = "gptq", "gptq_v2"


def version(spec: GridSpec) -> str:
    """The first version where it can hold the grid, since more engines read it."""
    return FIRST if spec.symmetric else SECOND


def pack(quantized: Quantized) -> dict[str, Tensor]:
    """Tensors of one module by the names that stand after its own."""
    grid = quantized.grid
    spec = grid.spec
    zero_point = grid.zero_point.T.to(torch.int8) - (1 if version(spec) == FIRST else 0)
    return {
        "qweight": pack_to_int32(quantized.codes.T, spec.bits, packed_dim=0).contiguous(),
        "qzeros": pack_to_int32(zero_point, spec.bits).contiguous(),
        "scales": grid.scale.T.to(GPTQ_SCALE_DTYPE).contiguous(),
        "g_idx": torch.arange(quantized.codes.shape[1], dtype=torch.int32) // spec.group_size,
    }


def unpack(tensors: Mapping[str, Tensor], *, bits: int, checkpoint_format: str) -> Tensor:
    """The weight `[out, in]` that packed tensors stand for, float32.

    Args:
        tensors: Tensors of one module; without `g_idx`, groups are of equal size in order.
        bits: Bits per code.
        checkpoint_format: `gptq` or `gptq_v2`.
    """
    scales = tensors["scales"].float()
    groups, outputs = scales.shape
    inputs = tensors["qweight"].shape[0] * 32 // bits
    codes = unpack_from_int32(tensors["qweight"], bits, torch.Size((inputs, outputs)), 0)
    zeros = unpack_from_int32(tensors["qzeros"], bits, torch.Size((groups, outputs)))
    group = tensors.get("g_idx")
    if group is None:
        group = torch.arange(inputs) // (inputs // groups)
    # Both are unpacked less the same offset, which the difference takes away.
    shift = 1 if checkpoint_format == FIRST else 0
    zero_point = zeros.float() + shift
    return (scales[group.long()] * (codes.float() - zero_point[group.long()])).T


def config(spec: GridSpec, method: Gptq | None) -> dict[str, Any]:
    """What stands in config.json as `quantization_config`.

    Groups stay where they are under act-order too, which this format calls static groups; engines
    then need no reordering, so `desc_act` is false.

    Args:
        spec: The grid of every module.
        method: GPTQ's parameters, if GPTQ made it.
    """
    return {
        "quant_method": METHOD,
        "bits": spec.bits,
        "group_size": spec.group_size,
        "sym": spec.symmetric,
        "desc_act": False,
        "static_groups": method is not None and method.act_order,
        "lm_head": False,
        "checkpoint_format": version(spec),
        "pack_dtype": "int32",
        **({} if method is None else {"damp_percent": method.damping}),
    }
