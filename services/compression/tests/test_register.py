"""RegisterVariant: what was compressed elsewhere becomes a variant of its parent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pytest
import torch
from families import write_family
from local_job import make
from safetensors.torch import save_file
from test_families import tensors
from test_formats import awq_words

from assay_compression.checkpoint.inspect import inspect
from assay_compression.formats import gptq_format
from assay_compression.methods.grid import GridSpec, fit, round_to_nearest
from assay_core.client import call
from assay_core.errors import AssayError
from assay_core.manifest import read_manifest, verify
from assay_core.pb import common_pb2, compression_pb2
from assay_core.recipes import Recipe

pytestmark = pytest.mark.compression


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    return write_family(tmp_path_factory.mktemp("register") / "parent", "LlamaForCausalLM")


@pytest.fixture(scope="module")
def foreign(parent, tmp_path_factory, calibration_file):
    """Makes a checkpoint as someone else would have: without our manifest and statistics."""

    def build(recipe) -> Path:
        root = tmp_path_factory.mktemp("foreign")
        made = make(root / "home", parent, recipe, calibration_file)
        folder = Path(shutil.copytree(made, root / "model"))
        for name in ("manifest.json", "run.json", "weights.json"):
            (folder / name).unlink()
        return folder

    return build


async def register(service, checkpoint, parent, **fields):
    request = compression_pb2.RegisterVariantRequest(
        checkpoint=common_pb2.ModelRef(uri=str(checkpoint)),
        parent=common_pb2.ModelRef(uri=str(parent)),
        **fields,
    )
    async with service.stub() as stub:
        variant = (await call(stub.RegisterVariant, request)).variant
    return variant if variant.cache_hit else await service.finish(variant.meta.id)


def folder(variant) -> Path:
    return Path(urlsplit(variant.artifact.uri).path)


async def refused(service, checkpoint, parent, **fields) -> AssayError:
    with pytest.raises(AssayError) as caught:
        await register(service, checkpoint, parent, **fields)
    assert caught.value.remedy
    return caught.value


GPTQ = {"gptq": {"bits": 4, "group_size": 32}, "layout": "packed-gptq"}


async def test_gptq_checkpoint_is_kept_as_it_is_with_its_parent_named(service, foreign, parent):
    checkpoint = foreign(GPTQ)
    made = await register(service, checkpoint, parent)
    assert made.meta.state == common_pb2.STATE_SUCCEEDED, made.meta.error
    method = made.recipe.imported
    assert (method.method, method.bits, method.group_size) == ("gptq", 4, 32)
    assert made.artifact.layout == common_pb2.LAYOUT_PACKED_GPTQ
    # Counted: codes, a scale of 16 and a zero point of 4 bits per 32 weights, and g_idx.
    assert 4.625 < made.artifact.bits_per_weight < 5.5
    dense = await service.make(parent, Recipe.parse("dense").to_proto())
    assert made.artifact.parent_digest == dense.artifact.digest
    verify(folder(made))
    for file in ("model.safetensors", "config.json"):
        assert (folder(made) / file).read_bytes() == (checkpoint / file).read_bytes()
    assert read_manifest(folder(made)).identity["recipe"]["imported"]["digest"] == method.digest


async def test_second_registration_is_a_cache_hit_and_a_recipe_finds_it(service, foreign, parent):
    checkpoint = foreign(GPTQ)
    first = await register(service, checkpoint, parent)
    again = await register(service, checkpoint, parent)
    assert again.cache_hit
    assert again.artifact.digest == first.artifact.digest
    found = await service.create(parent, first.recipe)
    assert found.cache_hit
    assert found.artifact.digest == first.artifact.digest


@pytest.mark.parametrize(
    "recipe",
    [
        GPTQ,
        {"rtn": {"bits": 3, "group_size": 32, "symmetric": False}, "layout": "packed-gptq"},
        {"gptq": {"bits": 3, "group_size": 16, "symmetric": False}, "layout": "packed"},
        {"wanda": {"pattern": "2:4"}},
    ],
    ids=["gptq", "gptq_v2", "compressed-tensors", "dense"],
)
async def test_dense_layout_holds_what_the_integers_stand_for(
    service, foreign, parent, calibration_file, tmp_path, recipe
):
    checkpoint = foreign(recipe)
    made = await register(service, checkpoint, parent, layout=common_pb2.LAYOUT_DENSE)
    assert made.meta.state == common_pb2.STATE_SUCCEEDED, made.meta.error
    if recipe.get("layout") == "packed-gptq":
        # Scales in float16 make other integers than the dense form of a float32 parent has.
        expected = multiplied_out(checkpoint, parent)
    else:
        plain = {name: value for name, value in recipe.items() if name != "layout"}
        expected = tensors(make(tmp_path / "home", parent, plain, calibration_file))
    found = tensors(folder(made))
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert found[name].dtype == weight.dtype
        assert torch.equal(found[name], weight), name
    described = (await service.get(made.meta.id)).artifact
    assert len(described.modules) == len(inspect(parent).linears)
    assert all(0 < module.relative_error < 0.7 for module in described.modules)
    assert [layer.layer for layer in described.layers] == [0, 1]
    config = json.loads((folder(made) / "config.json").read_text())
    assert "quantization_config" not in config


def multiplied_out(checkpoint: Path, parent: Path) -> dict[str, torch.Tensor]:
    """A GPTQ-format checkpoint as matrices, by the definition of the format."""
    config = json.loads((checkpoint / "config.json").read_text())["quantization_config"]
    stored = tensors(checkpoint)
    matrices = tensors(parent)
    for module in inspect(parent).linears:
        part = {n.removeprefix(f"{module}."): t for n, t in stored.items() if module in n}
        matrices[f"{module}.weight"] = gptq_format.unpack(
            part, bits=config["bits"], checkpoint_format=config["checkpoint_format"]
        )
    return matrices


async def test_awq_checkpoint_is_multiplied_out(service, parent, tmp_path):
    checkpoint = Path(shutil.copytree(parent, tmp_path / "awq"))
    spec = GridSpec(4, 32, symmetric=False)
    weights, expected = tensors(parent), {}
    for module in inspect(parent).linears:
        weight = weights.pop(f"{module}.weight")
        matrix = round_to_nearest(weight, fit(weight, spec, scale_dtype=torch.float16))
        expected[f"{module}.weight"] = matrix.weight
        weights |= {
            f"{module}.qweight": awq_words(matrix.codes.T.int() + 8),
            f"{module}.qzeros": awq_words(matrix.grid.zero_point.T.int() + 8),
            f"{module}.scales": matrix.grid.scale.T.half().contiguous(),
        }
    # AWQ moves scales into norms, which belong to the variant as well.
    norm = "model.layers.0.input_layernorm.weight"
    weights[norm] = weights[norm] * 2
    save_file(weights, checkpoint / "model.safetensors")
    config = json.loads((checkpoint / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"
    }  # fmt: skip
    (checkpoint / "config.json").write_text(json.dumps(config))
    made = await register(service, checkpoint, parent, layout=common_pb2.LAYOUT_DENSE)
    assert made.meta.state == common_pb2.STATE_SUCCEEDED, made.meta.error
    found = tensors(folder(made))
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())
    assert torch.equal(found[norm], weights[norm])
    assert made.recipe.imported.symmetric is False


async def test_checkpoint_of_another_parent_is_refused_by_the_tensor_that_shows_it(
    service, foreign, tmp_path
):
    other = write_family(tmp_path / "other", "Qwen3ForCausalLM")
    error = await refused(service, foreign(GPTQ), other)
    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_A_CHILD")


async def test_missing_and_misshapen_tensors_are_named(service, foreign, parent):
    checkpoint = foreign(GPTQ)
    weights = tensors(checkpoint)
    del weights["model.layers.1.mlp.up_proj.qweight"]
    save_file(weights, checkpoint / "model.safetensors")
    error = await refused(service, checkpoint, parent)
    assert "model.layers.1.mlp.up_proj.qweight is missing" in error.message


@pytest.mark.parametrize("method", ["bitsandbytes", None])
async def test_format_that_is_not_known_is_refused(service, foreign, parent, method):
    checkpoint = foreign(GPTQ)
    config = json.loads((checkpoint / "config.json").read_text())
    config["quantization_config"] = {"quant_method": method}
    (checkpoint / "config.json").write_text(json.dumps(config))
    error = await refused(service, checkpoint, parent)
    assert (error.reason, error.field) == ("UNKNOWN_FORMAT", "checkpoint.uri")


async def test_configuration_without_its_bits_is_refused(service, foreign, parent):
    checkpoint = foreign(GPTQ)
    config = json.loads((checkpoint / "config.json").read_text())
    del config["quantization_config"]["bits"]
    (checkpoint / "config.json").write_text(json.dumps(config))
    assert (await refused(service, checkpoint, parent)).reason == "BAD_CONFIG"


async def test_layout_that_it_is_not_in_is_refused(service, foreign, parent):
    error = await refused(service, foreign(GPTQ), parent, layout=common_pb2.LAYOUT_PACKED)
    assert (error.code, error.field) == (grpc.StatusCode.UNIMPLEMENTED, "layout")


async def test_imported_recipe_without_a_registration_says_how_to_register(service, parent):
    recipe = Recipe.parse({"imported": {"digest": "sha256:" + "0" * 64, "method": "gptq"}})
    with pytest.raises(AssayError) as caught:
        await service.create(parent, recipe.to_proto())
    assert (caught.value.code, caught.value.reason) == (
        grpc.StatusCode.NOT_FOUND,
        "NOT_REGISTERED",
    )


def truncated(checkpoint: Path, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "damaged"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    return folder


async def test_damaged_files_are_reported_under_the_field_that_named_them(
    service, foreign, parent, tmp_path
):
    checkpoint = foreign({"wanda": {"pattern": "2:4"}})
    damaged = truncated(checkpoint, tmp_path)
    for fields, expected in (
        ((damaged, parent), "checkpoint.uri"),
        ((checkpoint, damaged), "parent.uri"),
    ):
        error = await refused(service, *fields)
        assert (error.code, error.field) == (grpc.StatusCode.DATA_LOSS, expected)
        assert [violation.field for violation in error.violations] == [expected]
        assert error.metadata["file"] == "model.safetensors"


async def test_weights_that_are_not_numbers_are_reported_under_the_field_that_named_them(
    service, foreign, parent, tmp_path
):
    broken = foreign({"wanda": {"pattern": "2:4"}})
    weights = tensors(broken)
    weights["model.norm.weight"][3] = torch.inf
    save_file(weights, broken / "model.safetensors")
    error = await refused(service, broken, parent)
    assert (error.reason, error.field) == ("WEIGHTS_NOT_FINITE", "checkpoint.uri")
