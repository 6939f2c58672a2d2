"""Grids of integers: error bounds, idempotence, and agreement with compressed-tensors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay_compression.methods.grid import GridSpec, fit, round_to_nearest

BITS = st.sampled_from([2, 3, 4, 8])
SEEDS = st.integers(0, 2**31)
GROUP = 16


def weights(seed: int, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(5, 4 * GROUP, generator=torch.Generator().manual_seed(seed)) * scale


@given(SEEDS, BITS, st.floats(1e-4, 1e4))
def test_symmetric_error_is_at_most_half_a_step(seed, bits, scale):
    weight = weights(seed, scale)
    grid = fit(weight, GridSpec(bits, GROUP))
    step = grid.scale.repeat_interleave(GROUP, 1)
    assert ((round_to_nearest(weight, grid).weight - weight).abs() <= step * 0.5001).all()


@given(SEEDS)
def test_8_bit_error_is_at_most_a_255th_of_the_largest_weight(seed):
    weight = weights(seed)
    error = (round_to_nearest(weight, fit(weight, GridSpec(8, GROUP))).weight - weight).abs()
    largest = weight.unflatten(-1, (-1, GROUP)).abs().amax(-1).repeat_interleave(GROUP, 1)
    assert (error <= largest / 255 * 1.0001).all()


@given(SEEDS, BITS)
def test_asymmetric_error_is_at_most_one_step(seed, bits):
    weight = weights(seed)
    grid = fit(weight, GridSpec(bits, GROUP, symmetric=False))
    step = grid.scale.repeat_interleave(GROUP, 1)
    assert ((round_to_nearest(weight, grid).weight - weight).abs() <= step * 1.0001).all()


@given(SEEDS, BITS, st.booleans())
def test_values_of_codes_are_on_the_grid_and_codes_come_back(seed, bits, symmetric):
    grid = fit(weights(seed), GridSpec(bits, GROUP, symmetric))
    codes = grid.codes(weights(seed))
    assert codes.min() >= grid.spec.lowest
    assert codes.max() <= grid.spec.highest
    assert torch.equal(grid.codes(grid.values(codes)), codes)


@given(SEEDS, BITS, st.booleans())
def test_grid_is_the_one_compressed_tensors_fits(seed, bits, symmetric):
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.utils import calculate_qparams

    weight = weights(seed)
    grouped = weight.unflatten(-1, (-1, GROUP))
    arguments = QuantizationArgs(
        num_bits=bits, symmetric=symmetric, strategy="group", group_size=GROUP
    )
    scale, zero_point = calculate_qparams(grouped.amin(-1), grouped.amax(-1), arguments)
    grid = fit(weight, GridSpec(bits, GROUP, symmetric))
    assert torch.equal(grid.scale, scale)
    assert torch.equal(grid.zero_point, zero_point.float())


def test_a_group_of_zeros_stays_zero():
    weight = torch.zeros(2, GROUP)
    assert torch.equal(round_to_nearest(weight, fit(weight, GridSpec(3, GROUP))).weight, weight)


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="do not divide 10"):
        fit(torch.ones(2, 10), GridSpec(4, 16))
