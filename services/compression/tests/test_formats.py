"""Packed formats: what is written reads back bit by bit, here and by the formats' own libraries."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assay_compression.formats import awq_format, compressed_tensors_format, gptq_format
from assay_compression.methods.grid import GridSpec, Quantized, fit, round_to_nearest

BITS = st.sampled_from([2, 3, 4, 8])
SEEDS = st.integers(0, 2**31)
few = settings(max_examples=30, deadline=None)


def quantized(seed: int, spec: GridSpec, dtype: torch.dtype, rows: int = 32) -> Quantized:
    weight = torch.randn(rows, 96, generator=torch.Generator().manual_seed(seed))
    return round_to_nearest(weight, fit(weight, spec, scale_dtype=dtype))


@few
@given(SEEDS, BITS, st.booleans(), st.sampled_from([torch.float32, torch.bfloat16]))
def test_compressed_tensors_reads_back_bit_by_bit(seed, bits, symmetric, dtype):
    matrix = quantized(seed, GridSpec(bits, 16, symmetric), dtype, rows=20)
    packed = compressed_tensors_format.pack(matrix, scale_dtype=dtype)
    arguments = compressed_tensors_format.arguments_of(matrix.grid.spec)
    assert torch.equal(compressed_tensors_format.unpack(packed, arguments), matrix.weight)


@few
@given(SEEDS, BITS, st.booleans())
def test_gptq_reads_back_bit_by_bit(seed, bits, symmetric):
    matrix = quantized(seed, GridSpec(bits, 16, symmetric), torch.float16)
    packed = gptq_format.pack(matrix)
    version = gptq_format.version(matrix.grid.spec)
    assert version == ("gptq" if symmetric else "gptq_v2")
    unpacked = gptq_format.unpack(packed, bits=bits, checkpoint_format=version)
    assert torch.equal(unpacked, matrix.weight)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_gptq_words_hold_codes_from_the_lowest_bits_and_zeros_less_one(bits):
    matrix = quantized(0, GridSpec(bits, 16), torch.float16)
    packed = gptq_format.pack(matrix)
    per_word, mask = 32 // bits, (1 << bits) - 1
    assert packed["qweight"].shape == (96 // per_word, 32)
    assert packed["qzeros"].shape == (6, 32 // per_word)
    codes = matrix.codes.int() + (1 << (bits - 1))
    for place in range(per_word):
        found = (packed["qweight"][0] >> (bits * place)) & mask
        assert torch.equal(found, codes[:, place])
    middle = (1 << (bits - 1)) - 1
    assert int(packed["qzeros"][0, 0]) & mask == middle
    assert packed["scales"].dtype == torch.float16
    assert packed["g_idx"].tolist() == [i // 16 for i in range(96)]


def test_gptq_3_bit_words_are_one_stream_of_bits():
    """AutoGPTQ's layout: the 11th code has two bits in the first word and one in the second."""
    matrix = quantized(1, GridSpec(3, 16), torch.float16)
    word = gptq_format.pack(matrix)["qweight"][:, 0].to(torch.int64) & 0xFFFFFFFF
    codes = matrix.codes[0].to(torch.int64) + 4
    assert int(word[0]) >> 30 == int(codes[10]) & 3
    assert int(word[1]) & 1 == int(codes[10]) >> 2
    assert (int(word[1]) >> 1) & 7 == int(codes[11])


def test_gptq_groups_may_be_in_any_order():
    matrix = quantized(2, GridSpec(4, 16), torch.float16)
    packed = gptq_format.pack(matrix)
    order = torch.randperm(96, generator=torch.Generator().manual_seed(0))
    codes = Quantized(matrix.grid, matrix.codes[:, order])
    shuffled = packed | {
        "qweight": gptq_format.pack(codes)["qweight"],
        "g_idx": packed["g_idx"][order],
    }
    unpacked = gptq_format.unpack(shuffled, bits=4, checkpoint_format="gptq")
    assert torch.equal(unpacked, matrix.weight[:, order])


def test_awq_reads_outputs_in_the_kernels_order():
    """Words as AutoAWQ packs them: place i of a word holds output (0, 2, 4, 6, 1, 3, 5, 7)[i]."""
    matrix = quantized(3, GridSpec(4, 16, symmetric=False), torch.float16)
    packed = {
        "qweight": awq_words(matrix.codes.T.int() + 8),
        "qzeros": awq_words(matrix.grid.zero_point.T.int() + 8),
        "scales": matrix.grid.scale.T.half(),
    }
    assert torch.equal(awq_format.unpack(packed), matrix.weight)


def awq_words(values: torch.Tensor) -> torch.Tensor:
    words = torch.zeros(values.shape[0], values.shape[1] // 8, dtype=torch.int32)
    for column in range(words.shape[1]):
        for place, output in enumerate((0, 2, 4, 6, 1, 3, 5, 7)):
            words[:, column] |= values[:, 8 * column + output] << (4 * place)
    return words
