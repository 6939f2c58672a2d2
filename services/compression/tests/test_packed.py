"""Packed artifacts are the dense ones in fewer bytes, and load where their format is known."""

from __future__ import annotations

import json

import pytest
import torch
from families import loaded, write_family
from local_job import make
from test_families import tensors

from assay_compression.checkpoint.inspect import inspect
from assay_compression.formats import compressed_tensors_format, gptq_format
from assay_compression.methods.grid import GridSpec, fit, round_to_nearest
from assay_core.errors import FailedPrecondition
from assay_core.manifest import read_manifest

pytestmark = pytest.mark.compression

IDS = torch.arange(3, 60).unsqueeze(0)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return write_family(tmp_path_factory.mktemp("packed") / "llama", "LlamaForCausalLM")


def logits(path):
    with torch.inference_mode():
        return loaded(path)(IDS).logits


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_packed_gptq_is_the_dense_one_bit_by_bit_and_loads_in_transformers(
    llama, calibration_file, tmp_path, bits, symmetric
):
    recipe = {"gptq": {"bits": bits, "group_size": 32, "symmetric": symmetric}}
    dense = make(tmp_path / "home", llama, recipe, calibration_file)
    packed = make(tmp_path / "home", llama, recipe | {"layout": "packed"}, calibration_file)
    whole, parts = tensors(dense), tensors(packed)
    arguments = compressed_tensors_format.arguments_of(GridSpec(bits, 32, symmetric))
    for module in inspect(llama).linears:
        assert f"{module}.weight" not in parts
        own = {
            n.removeprefix(f"{module}."): t for n, t in parts.items() if n.startswith(f"{module}.")
        }
        assert torch.equal(
            compressed_tensors_format.unpack(own, arguments), whole[f"{module}.weight"]
        )
    torch.testing.assert_close(logits(packed), logits(dense), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_gptq_format_holds_the_integers_of_its_dense_form(llama, calibration_file, tmp_path, bits):
    recipe = {"rtn": {"bits": bits, "group_size": 32}, "layout": "packed-gptq"}
    packed = make(tmp_path / "home", llama, recipe, calibration_file)
    config = json.loads((packed / "config.json").read_text())["quantization_config"]
    assert (config["quant_method"], config["bits"], config["group_size"]) == ("gptq", bits, 32)
    before, parts = tensors(llama), tensors(packed)
    for module in inspect(llama).linears:
        own = {
            n.removeprefix(f"{module}."): t for n, t in parts.items() if n.startswith(f"{module}.")
        }
        assert own.keys() == {"qweight", "qzeros", "scales", "g_idx"}
        unpacked = gptq_format.unpack(own, bits=bits, checkpoint_format=config["checkpoint_format"])
        original = before[f"{module}.weight"]
        grid = fit(original, GridSpec(bits, 32), scale_dtype=torch.float16)
        assert torch.equal(unpacked, round_to_nearest(original, grid).weight)


@pytest.mark.parametrize("family", ["LlamaForCausalLM", "OPTForCausalLM"])
def test_packed_awq_computes_what_its_dense_form_computes(family, calibration_file, tmp_path):
    """Scales that cancel out between matrices and what comes before them."""
    source = write_family(tmp_path / "m", family)
    recipe = {"awq": {"bits": 4, "group_size": 32}}
    dense = make(tmp_path / "home", source, recipe, calibration_file)
    packed = make(tmp_path / "home", source, recipe | {"layout": "packed"}, calibration_file)
    before, whole, parts = tensors(source), tensors(dense), tensors(packed)
    others = before.keys() & parts.keys()
    assert any(not torch.equal(parts[name], before[name]) for name in others)
    assert all(torch.equal(whole[name], before[name]) for name in others)
    difference = (logits(packed) - logits(dense)).norm() / logits(dense).norm()
    assert difference < 1e-4
    assert (logits(dense) - logits(source)).norm() / logits(source).norm() > 1e-3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("symmetric", [True, False])
def test_bits_per_weight_of_the_dense_form_are_those_of_the_packed_tensors(
    calibration_file, tmp_path, dtype, symmetric
):
    source = write_family(tmp_path / "m", "LlamaForCausalLM", dtype=dtype)
    recipe = {"rtn": {"bits": 4, "group_size": 32, "symmetric": symmetric}}
    bits = {}
    for layout in ("dense", "packed"):
        made = make(tmp_path / "home", source, recipe | {"layout": layout}, calibration_file)
        bits[layout] = read_manifest(made).identity["efficiency"]["bits_per_weight"]
    parts = tensors(made)
    shapes = 8 * sum(t.numel() * 8 for n, t in parts.items() if n.endswith("weight_shape"))
    elements = sum(t.numel() for n, t in tensors(source).items() if "proj" in n)
    assert bits["packed"] == pytest.approx(bits["dense"] + shapes / elements)


def test_packed_shards_have_an_index_of_what_they_hold(calibration_file, tmp_path):
    source = write_family(tmp_path / "m", "Qwen3ForCausalLM", dtype=torch.bfloat16, shard="100KB")
    recipe = {"rtn": {"bits": 4, "group_size": 32}, "layout": "packed"}
    packed = make(tmp_path / "home", source, recipe, calibration_file)
    index = json.loads((packed / "model.safetensors.index.json").read_text())["weight_map"]
    assert index.keys() == tensors(packed).keys()
    assert len(set(index.values())) > 1
    assert logits(packed).isfinite().all()


@pytest.mark.parametrize("layout", ["packed", "packed-gptq"])
def test_conv1d_has_no_packed_layout_and_says_so(tmp_path, calibration_file, layout):
    source = write_family(tmp_path / "m", "GPT2LMHeadModel")
    recipe = {"rtn": {"bits": 4, "group_size": 32}, "layout": layout}
    with pytest.raises(FailedPrecondition, match=r"transformer\.h\.0\.attn\.c_attn") as caught:
        make(tmp_path / "home", source, recipe, calibration_file)
    assert caught.value.field == "recipe.layout"
