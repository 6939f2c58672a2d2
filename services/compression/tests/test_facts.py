"""Bits, bytes and the words of ListRecipes."""

from __future__ import annotations

import pytest

from assay_compression.catalog import METHOD_TEXTS
from assay_compression.checkpoint.inspect import inspect
from assay_compression.efficiency import count, dense_bits, pruned_bits, quantized_bits
from assay_compression.methods.registry import BACKENDS, check_shape, check_supported
from assay_core.errors import FailedPrecondition, Unimplemented
from assay_core.recipes import METHODS, Recipe


def test_every_method_of_the_contract_is_described_with_all_its_parameters():
    assert set(METHOD_TEXTS) == set(BACKENDS) == set(METHODS)
    for name, text in METHOD_TEXTS.items():
        assert {p.name for p in text.parameters} == set(METHODS[name].model_fields)


def test_described_defaults_are_the_ones_that_apply():
    for name, text in METHOD_TEXTS.items():
        for parameter in text.parameters:
            field = METHODS[name].model_fields[parameter.name]
            expected = "" if field.is_required() else str(field.default)
            assert parameter.default.lower() == expected.lower(), (name, parameter.name)


def test_bits_count_scales_zero_points_and_bitmaps():
    assert quantized_bits(4, 128, symmetric=True, scale_bits=16) == 4.125
    assert quantized_bits(4, 128, symmetric=False, scale_bits=16) == 4.15625
    assert quantized_bits(4, 128, symmetric=True, scale_bits=32) == 4.25
    assert pruned_bits(16, 0.5) == 9


def test_costs_of_the_dense_model_are_its_bytes(checkpoint):
    found = inspect(checkpoint)
    costs = count(found, found.linears, dense_bits(found, found.linears))
    assert costs.bits_per_weight == 32
    assert costs.packed_bytes == 4 * found.parameters
    embedding = found.tensors["model.embed_tokens.weight"]
    assert costs.flops_per_token == 2 * (found.parameters - embedding.elements)
    row = 4 * embedding.shape[1]
    assert costs.decode_bytes_per_token == 4 * (found.parameters - embedding.elements) + row


@pytest.mark.parametrize(
    "recipe",
    [
        {"wanda": {}, "layout": "packed"},
        {"awq": {"bits": 4}, "layout": "packed-gptq"},
    ],
)
def test_what_is_not_built_says_so(recipe):
    with pytest.raises(Unimplemented) as caught:
        check_supported(Recipe.parse(recipe))
    assert caught.value.remedy


def test_group_size_that_does_not_divide_names_the_module_and_sizes_that_do():
    recipe = Recipe.parse({"gptq": {"bits": 4}})
    with pytest.raises(FailedPrecondition, match=r"96 inputs of a\.b") as caught:
        check_shape(recipe, "a.b", 96)
    assert caught.value.field == "recipe.gptq.group_size"
    assert caught.value.remedy == "use 16 or 32"
