"""Control method: Gaussian noise of a given size, to tell structure of an error from its size."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from assay_compression.methods.gptq import gptq
from assay_compression.methods.grid import GridSpec
from assay_compression.methods.registry import NOISE_GROUP_SIZE
from assay_compression.methods.routine import Compressed, Context, Matrix, Routine, one_by_one
from assay_core.recipes import Gptq, Noise


def matched_noise(weight: Tensor, *, error: float, seed: int, name: str) -> Tensor:
    """Adds Gaussian noise E with ||E||_F = `error`; one stream per seed and module."""
    stream = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(stream[:8], "big") >> 1)
    noise = torch.randn(weight.shape, generator=generator).to(weight.device)
    return weight + noise * (error / noise.norm())


def routine(method: Noise, context: Context) -> Routine:
    """The recipe's routine: measures GPTQ's error, then adds noise of that size instead."""
    spec = GridSpec(method.match_bits, NOISE_GROUP_SIZE)
    reference = Gptq(bits=method.match_bits, group_size=NOISE_GROUP_SIZE)

    def run(matrix: Matrix) -> Compressed:
        quantized = gptq(
            matrix.weight,
            matrix.inputs,
            spec,
            act_order=reference.act_order,
            damping=reference.damping,
            scale_dtype=context.scale_dtype,
        )
        error = float((quantized.weight - matrix.weight).norm())
        noisy = matched_noise(matrix.weight, error=error, seed=context.seed, name=matrix.name)
        return Compressed(noisy)

    return one_by_one(run)
