"""The service as its callers see it: real process, real workers, real artifacts."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import numpy as np
import pytest
import torch
from conftest import running_service, small_calibration
from safetensors.torch import load_file
from tiny_llama import LAYERS, VOCAB, write_checkpoint

from assay_compression.methods.grid import GridSpec, fit
from assay_core.client import call
from assay_core.errors import AssayError
from assay_core.manifest import read_manifest, verify
from assay_core.pb import common_pb2, compression_pb2
from assay_core.recipes import Recipe

pytestmark = pytest.mark.compression


def recipe(value) -> common_pb2.Recipe:
    return Recipe.parse(value).to_proto()


DENSE = recipe("dense")
MAGNITUDE = recipe({"magnitude": {"pattern": "2:4"}})
GPTQ = recipe({"gptq": {"bits": 3, "group_size": 32}})


def folder(variant: compression_pb2.Variant) -> Path:
    return Path(urlsplit(variant.artifact.uri).path)


def weights(path: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in sorted(path.glob("*.safetensors")):
        found |= load_file(file)
    return found


def is_linear(name: str) -> bool:
    return name.endswith("_proj.weight")


async def test_dense_is_the_checkpoint_pinned_by_digest(service, checkpoint):
    made = await service.make(checkpoint, DENSE)
    assert made.meta.state == common_pb2.STATE_SUCCEEDED
    verify(folder(made))
    for file in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (folder(made) / file).read_bytes() == (checkpoint / file).read_bytes()
    assert made.artifact.parent_digest == made.artifact.digest
    assert made.artifact.run.peak_memory_bytes > 0


async def test_second_request_is_a_cache_hit(service, checkpoint):
    first = await service.make(checkpoint, DENSE)
    again = await service.create(checkpoint, DENSE)
    assert again.cache_hit
    assert again.meta.state == common_pb2.STATE_SUCCEEDED
    assert again.artifact.digest == first.artifact.digest


async def test_magnitude_changes_only_linears_and_names_its_parent(service, checkpoint):
    dense = await service.make(checkpoint, DENSE)
    made = await service.make(checkpoint, MAGNITUDE)
    before, after = weights(checkpoint), weights(folder(made))
    assert before.keys() == after.keys()
    for name, weight in after.items():
        assert weight.dtype == before[name].dtype
        if is_linear(name):
            assert ((weight == 0).unflatten(-1, (-1, 4)).sum(-1) == 2).all()
        else:
            assert torch.equal(weight, before[name])
    assert made.artifact.parent_digest == dense.artifact.digest
    assert made.artifact.sparsity == pytest.approx(0.5)
    described = await service.get(made.meta.id)
    for module in described.artifact.modules:
        assert list(module.zeros_per_block) == [0, 0, 1, 0, 0]
        assert not module.HasField("scales")
        assert not module.HasField("output_error")


async def test_gptq_in_bfloat16_shards_is_on_its_grid_and_runs(service, tmp_path):
    model = write_checkpoint(tmp_path / "m", dtype=torch.bfloat16, shards=2)
    made = await service.make(model, GPTQ, calibration=small_calibration())
    assert made.meta.state == common_pb2.STATE_SUCCEEDED, made.meta.error
    before, after = weights(model), weights(folder(made))
    spec = GridSpec(3, 32)
    for name, weight in after.items():
        if not is_linear(name):
            assert torch.equal(weight, before[name])
            continue
        grid = fit(before[name].float(), spec, scale_dtype=torch.bfloat16)
        on_grid = grid.values(grid.codes(weight.float())).bfloat16()
        assert torch.equal(weight, on_grid), name
    config = json.loads((folder(made) / "config.json").read_text())
    assert "quantization_config" not in config
    assert_runs(folder(made))
    described = await service.get(made.meta.id)
    modules = described.artifact.modules
    assert len(modules) == 7 * LAYERS
    assert all(0 < module.output_error < 1 for module in modules)
    assert sum(modules[0].histogram_after) == sum(modules[0].histogram_before)
    assert described.artifact.bits_per_weight == 3.5
    down = next(module for module in modules if module.name.endswith("0.mlp.down_proj"))
    scales = fit(before[f"{down.name}.weight"].float(), spec, scale_dtype=torch.bfloat16).scale
    assert (down.scales.count, down.elements) == (scales.numel(), 32 * scales.numel())
    assert down.scales.median == pytest.approx(float(scales.median()))
    assert down.scales.standard_deviation == pytest.approx(float(scales.std(correction=0)))
    # A layer pools its modules: sqrt of summed squared errors over summed squared norms.
    layer = described.artifact.layers[0]
    own = [name for name in after if name.startswith("model.layers.0.") and is_linear(name)]
    change = sum(float((after[n].float() - before[n].float()).square().sum()) for n in own)
    norm = sum(float(before[n].float().square().sum()) for n in own)
    assert layer.relative_error == pytest.approx((change / norm) ** 0.5, rel=1e-5)
    assert 0 < layer.output_error < 1


def assert_runs(path: Path) -> None:
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(str(path), dtype=torch.float32)
    with torch.inference_mode():
        logits = model(torch.arange(10).unsqueeze(0)).logits
    assert logits.shape == (1, 10, VOCAB)
    assert np.isfinite(logits.numpy()).all()


async def test_same_seed_gives_the_same_bytes_and_another_seed_others(
    service, checkpoint, calibration_file, tmp_path
):
    first = await service.make(checkpoint, GPTQ, calibration=small_calibration(seed=1))
    other = await service.make(checkpoint, GPTQ, calibration=small_calibration(seed=2))
    assert first.artifact.digest != other.artifact.digest
    with running_service(tmp_path / "home", calibration_file) as elsewhere:
        again = await elsewhere.make(checkpoint, GPTQ, calibration=small_calibration(seed=1))
    assert again.artifact.digest == first.artifact.digest
    identity = read_manifest(folder(first)).identity
    assert identity["calibration"]["seed"] == 1
    assert identity["tools"]["llmcompressor"]


async def test_lists_are_by_project_and_filter(service, checkpoint):
    await service.make(checkpoint, DENSE, project="mine")
    async with service.stub() as stub:
        request = compression_pb2.ListVariantsRequest(
            project="mine", options=common_pb2.ListOptions(filter='method = "dense"')
        )
        listed = (await call(stub.ListVariants, request)).variants
    assert [variant.label for variant in listed] == ["dense"]
    assert listed[0].meta.project == "mine"


async def test_artifact_goes_with_the_last_variant_that_holds_it(service, tmp_path):
    model = write_checkpoint(tmp_path / "m", seed=5)
    one = await service.make(model, DENSE, project="one")
    two = await service.make(model, DENSE, project="two")
    assert two.artifact.uri == one.artifact.uri
    async with service.stub() as stub:
        for variant, deleted in ((one, False), (two, True)):
            request = compression_pb2.DeleteVariantRequest(id=variant.meta.id)
            assert (await call(stub.DeleteVariant, request)).artifact_deleted is deleted
            assert folder(one).exists() is not deleted
        with pytest.raises(AssayError) as caught:
            await call(stub.GetVariant, compression_pb2.GetVariantRequest(id=one.meta.id))
    assert caught.value.code is grpc.StatusCode.NOT_FOUND


async def test_damaged_artifact_is_made_again(service, tmp_path):
    model = write_checkpoint(tmp_path / "m", seed=6)
    first = await service.make(model, DENSE)
    file = folder(first) / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    again = await service.create(model, DENSE)
    assert not again.cache_hit
    await service.finish(again.meta.id)
    assert file.read_bytes() == whole


async def test_recipes_say_what_is_available_and_why_not(service):
    async with service.stub() as stub:
        listed = (await call(stub.ListRecipes, compression_pb2.ListRecipesRequest())).recipes
    by_method = {description.method: description for description in listed}
    assert by_method["gptq"].available
    assert by_method["gptq"].backend.startswith("llmcompressor ")
    assert list(by_method["gptq"].layouts) == [
        common_pb2.LAYOUT_DENSE,
        common_pb2.LAYOUT_PACKED,
        common_pb2.LAYOUT_PACKED_GPTQ,
    ]
    others = {other.name: other.reason for other in by_method["gptq"].other_backends}
    assert "CUDA" in others["auto-gptq"]
    assert not by_method["imported"].available
    assert "RegisterVariant" in by_method["imported"].unavailable_reason
