"""The `gemm` checkpoint format of AutoAWQ, four bits; it is read here, never written.

`qweight` int32 `[in, out / 8]` and `qzeros` int32 `[groups, out / 8]` hold eight outputs in a word,
in the order that the kernel wants them: output k of a word stands at place `_ORDER[k]`. `scales` is
`[groups, out]`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

METHOD = "awq"
BITS = 4
_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)


def unpack(tensors: Mapping[str, Tensor]) -> Tensor:
    """The weight `[out, in]` that packed tensors stand for, float32."""
    codes, zeros = _nibbles(tensors["qweight"]), _nibbles(tensors["qzeros"])
    scales = tensors["scales"].float()
    group = torch.arange(codes.shape[0]) // (codes.shape[0] // scales.shape[0])
    return (scales[group] * (codes - zeros[group])).T


def _nibbles(words: Tensor) -> Tensor:
    shifts = torch.tensor([BITS * place for place in _ORDER], dtype=torch.int32)
    return ((words[..., None] >> shifts) & 0xF).flatten(-2).float()
