"""Pruning masks hold exactly what their definition says."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay_compression.methods.magnitude import magnitude
from assay_compression.methods.masks import (
    BlockPattern,
    smallest,
    smallest_per_block,
    smallest_per_row,
)

SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))
# Coarse values make ties common, which is where masks go wrong.
SEEDS = st.integers(0, 2**31)


def scores(seed: int, rows: int, columns: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 4, (rows, columns), generator=generator).float()


@given(SEEDS, SHAPES, st.sampled_from([(2, 4), (4, 8)]))
def test_every_block_has_exactly_n_zeros(seed, shape, pattern):
    zeros, size = pattern
    mask = smallest_per_block(scores(seed, shape[0], shape[1] * size), BlockPattern(zeros, size))
    assert (mask.unflatten(-1, (-1, size)).sum(-1) == zeros).all()


@given(SEEDS, SHAPES, st.floats(0.01, 0.99))
def test_unstructured_mask_prunes_an_exact_count_of_the_smallest(seed, shape, sparsity):
    values = scores(seed, *shape)
    mask = smallest(values, sparsity)
    assert int(mask.sum()) == int(sparsity * values.numel())
    if 0 < int(mask.sum()) < values.numel():
        assert values[mask].max() <= values[~mask].min()


@given(SEEDS, SHAPES, st.floats(0.01, 0.99))
def test_row_mask_prunes_the_same_count_of_every_row(seed, shape, sparsity):
    mask = smallest_per_row(scores(seed, *shape), sparsity)
    assert (mask.sum(-1) == int(sparsity * shape[1])).all()


@given(SEEDS, SHAPES)
def test_ties_are_broken_by_position(seed, shape):
    equal = torch.ones(shape[0], shape[1] * 4)
    mask = smallest_per_block(equal, BlockPattern(2, 4)).unflatten(-1, (-1, 4))
    assert (mask == torch.tensor([True, True, False, False])).all()


def test_blocks_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="do not divide 6"):
        smallest_per_block(torch.ones(2, 6), BlockPattern(2, 4))


def test_magnitude_keeps_what_it_does_not_prune():
    weight = torch.tensor([[0.1, -3.0, 2.0, -0.2], [5.0, 0.0, -0.5, 1.0]])
    pruned = magnitude(weight, sparsity=0.5, pattern=BlockPattern(2, 4))
    assert pruned.tolist() == [[0.0, -3.0, 2.0, 0.0], [5.0, 0.0, 0.0, 1.0]]
