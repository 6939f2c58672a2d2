"""Which packed weights an engine takes, known from config.json alone."""

from __future__ import annotations

import pytest

from assay_core.errors import FailedPrecondition
from assay_serving.engine.packing import check_served, packing_of


def compressed_tensors(bits: int, **group) -> dict:
    weights = {"num_bits": bits, "type": "int", "strategy": "group", "group_size": 128}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights, **group}}
    return {"quant_method": "compressed-tensors", "config_groups": groups}


def test_a_dense_layout_has_no_packing():
    assert packing_of({"hidden_size": 8}) is None
    check_served(None, "cpu")


@pytest.mark.parametrize(
    "quantization",
    [
        {"quant_method": "gptq", "bits": None},
        {"quant_method": "gptq", "bits": "four"},
        {"quant_method": "compressed-tensors", "config_groups": [1]},
        {"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"x": 1}}}},
    ],
)
def test_a_packing_that_cannot_be_read_is_not_served_on_a_cpu(quantization):
    with pytest.raises(FailedPrecondition) as refusal:
        check_served(packing_of({"quantization_config": quantization}), "cpu")
    assert refusal.value.reason == "PACKING_NOT_SERVED"


@pytest.mark.parametrize(
    "quantization",
    [
        compressed_tensors(4),
        {"quant_method": "gptq", "bits": 4},
        {"quant_method": "awq", "bits": 4},
        {"quant_method": "awq", "w_bit": 4},
    ],
)
def test_four_bit_weights_are_served_on_a_cpu(quantization):
    check_served(packing_of({"quantization_config": quantization}), "cpu")


@pytest.mark.parametrize(
    ("quantization", "says"),
    [
        (compressed_tensors(8), "compressed-tensors with 8 bits"),
        (compressed_tensors(3), "compressed-tensors with 3 bits"),
        (compressed_tensors(4, input_activations={"num_bits": 8}), "quantized activations"),
        ({"quant_method": "gptq", "bits": 8}, "gptq with 8 bits"),
        ({"quant_method": "gptq", "bits": 3}, "gptq with 3 bits"),
        ({"quant_method": "bitsandbytes"}, "bitsandbytes with unknown bits"),
    ],
)
def test_others_are_refused_by_what_they_are_and_what_would_do(quantization, says):
    packing = packing_of({"quantization_config": quantization})
    with pytest.raises(FailedPrecondition) as refusal:
        check_served(packing, "cpu")
    assert says in refusal.value.message
    assert (refusal.value.reason, refusal.value.field) == ("PACKING_NOT_SERVED", "artifact_uri")
    assert "dense layout" in refusal.value.remedy
    check_served(packing, "cuda")
