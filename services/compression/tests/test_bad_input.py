"""Bad input over real gRPC: a canonical error that names field or file and remedy, in a second."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import grpc
import pytest
import torch
from conftest import Service, running_service, small_calibration
from safetensors.torch import load_file, save_file
from tiny_llama import write_checkpoint

from assay_core.client import call
from assay_core.errors import AssayError
from assay_core.pb import common_pb2, compression_pb2
from assay_core.recipes import Recipe

GPTQ = Recipe.parse({"gptq": {"bits": 4, "group_size": 32}}).to_proto()
DENSE = Recipe.parse("dense").to_proto()


async def refused(service: Service, model, recipe=DENSE, **fields) -> AssayError:
    started = time.monotonic()
    with pytest.raises(AssayError) as caught:
        await service.create(model, recipe, **fields)
    assert time.monotonic() - started < 1.5
    error = caught.value
    assert error.code is not grpc.StatusCode.INTERNAL
    assert error.remedy or error.violations
    return error


@pytest.fixture
def broken(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "model"))


def edit_config(path: Path, **changes) -> None:
    config = json.loads((path / "config.json").read_text()) | changes
    (path / "config.json").write_text(json.dumps(config))


async def test_bits_that_do_not_exist(service, checkpoint):
    recipe = common_pb2.Recipe(gptq=common_pb2.GptqRecipe(bits=5))
    error = await refused(service, checkpoint, recipe)
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.field == "recipe.gptq.bits"


async def test_recipe_field_of_another_version(service, checkpoint):
    known = common_pb2.Recipe(gptq=common_pb2.GptqRecipe(bits=4)).gptq.SerializeToString()
    recipe = common_pb2.Recipe()
    # Field 2047 as a varint: what a newer client would send for a parameter of its own.
    recipe.gptq.ParseFromString(known + b"\xf8\x7f\x01")
    error = await refused(service, checkpoint, recipe)
    assert (error.reason, error.field) == ("UNKNOWN_RECIPE_FIELD", "recipe.gptq")
    assert "2047" in error.message


async def test_no_method(service, checkpoint):
    error = await refused(service, checkpoint, common_pb2.Recipe())
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_sparsity_that_contradicts_the_pattern(service, checkpoint):
    recipe = common_pb2.Recipe(
        magnitude=common_pb2.MagnitudeRecipe(sparsity=0.3, pattern=common_pb2.SPARSITY_PATTERN_2_4)
    )
    error = await refused(service, checkpoint, recipe)
    assert error.field == "recipe.magnitude.sparsity"


async def test_model_that_is_not_there(service, tmp_path):
    error = await refused(service, tmp_path / "nowhere")
    assert (error.code, error.field) == (grpc.StatusCode.NOT_FOUND, "model.uri")
    assert "demo" in str(error)


async def test_model_by_a_scheme_that_is_not_read(service):
    error = await refused(service, "s3://bucket/model")
    assert (error.code, error.field) == (grpc.StatusCode.UNIMPLEMENTED, "model.uri")


async def test_checkpoint_with_pickle_weights_only(service, broken):
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    error = await refused(service, broken)
    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_SAFETENSORS")
    assert "pytorch_model.bin" in error.message
    assert "safe_serialization" in error.remedy


async def test_truncated_safetensors_file(service, broken):
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    error = await refused(service, broken)
    assert (error.code, error.reason) == (grpc.StatusCode.DATA_LOSS, "CHECKPOINT_DAMAGED")
    assert error.metadata["file"] == "model.safetensors"


async def test_safetensors_file_with_a_broken_header(service, broken):
    weights = broken / "model.safetensors"
    weights.write_bytes(b"\xff" * 64 + weights.read_bytes()[64:])
    assert (await refused(service, broken)).code is grpc.StatusCode.DATA_LOSS


async def test_file_that_the_system_does_not_let_be_read(service, broken):
    # Root may read every file; reading this one fails for root as well.
    (broken / "config.json").unlink()
    (broken / "config.json").symlink_to("/proc/self/mem")
    error = await refused(service, broken)
    assert (error.code, error.field) == (grpc.StatusCode.FAILED_PRECONDITION, "model.uri")
    assert error.reason == "CHECKPOINT_UNREADABLE"


async def test_missing_shard(service, tmp_path):
    path = write_checkpoint(tmp_path / "m", shards=2)
    (path / "model-00002-of-00002.safetensors").unlink()
    error = await refused(service, path)
    assert error.code is grpc.StatusCode.DATA_LOSS
    assert "model-00002-of-00002.safetensors" in error.message


async def test_missing_config(service, broken):
    (broken / "config.json").unlink()
    error = await refused(service, broken)
    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_A_CHECKPOINT")


async def test_config_that_is_not_json(service, broken):
    (broken / "config.json").write_text("{")
    assert (await refused(service, broken)).metadata["file"] == "config.json"


async def test_architecture_without_support(service, broken):
    edit_config(broken, architectures=["BloomForCausalLM"])
    error = await refused(service, broken)
    assert (error.code, error.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "UNSUPPORTED_ARCHITECTURE",
    )
    assert "BloomForCausalLM" in error.message
    assert "model.layers.*.mlp.down_proj" in error.message


async def test_more_layers_in_config_than_in_the_weights(service, broken):
    edit_config(broken, num_hidden_layers=4)
    error = await refused(service, broken)
    assert "model.layers.3.self_attn.q_proj.weight" in error.message


async def test_more_layers_in_config_than_could_be(service, broken):
    edit_config(broken, num_hidden_layers=10**9)
    assert (await refused(service, broken)).reason == "TENSOR_MISSING"


async def test_config_of_another_size_than_the_weights(service, broken):
    edit_config(broken, intermediate_size=256)
    error = await refused(service, broken)
    assert error.reason == "SHAPE_MISMATCH"
    assert "mlp.gate_proj is [128, 64]" in error.message


async def test_checkpoint_that_is_compressed_already(service, broken):
    edit_config(broken, quantization_config={"bits": 4})
    assert (await refused(service, broken)).reason == "ALREADY_COMPRESSED"


async def test_group_size_that_does_not_divide(service, checkpoint):
    recipe = common_pb2.Recipe(gptq=common_pb2.GptqRecipe(bits=4))
    error = await refused(service, checkpoint, recipe)
    assert error.field == "recipe.gptq.group_size"
    assert "model.layers.0.self_attn.q_proj" in error.message
    assert "16 or 32 or 64" in error.remedy


async def test_weights_that_are_not_numbers(service, broken):
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][5] = torch.nan
    save_file(weights, broken / "model.safetensors")
    error = await refused(service, broken)
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    assert error.metadata["tensor"] == "model.norm.weight"


async def test_remote_code(service, checkpoint):
    request = compression_pb2.CreateVariantRequest(
        model=common_pb2.ModelRef(uri=str(checkpoint), trust_remote_code=True), recipe=DENSE
    )
    async with service.stub() as stub:
        with pytest.raises(AssayError) as caught:
            await call(stub.CreateVariant, request)
    assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED
    assert caught.value.field == "model.trust_remote_code"


async def test_digest_that_is_not_the_checkpoints(service, checkpoint):
    request = compression_pb2.CreateVariantRequest(
        model=common_pb2.ModelRef(uri=str(checkpoint), digest="sha256:" + "0" * 64), recipe=DENSE
    )
    async with service.stub() as stub:
        with pytest.raises(AssayError) as caught:
            await call(stub.CreateVariant, request)
    assert caught.value.reason == "DIGEST_MISMATCH"


async def test_calibration_that_is_not_there_or_broken(service, checkpoint, tmp_path):
    missing = common_pb2.Calibration(samples=8, sequence_length=32, source=str(tmp_path / "no"))
    error = await refused(service, checkpoint, GPTQ, calibration=missing)
    assert (error.code, error.field) == (grpc.StatusCode.NOT_FOUND, "calibration.source")
    path = tmp_path / "c.jsonl"
    path.write_text("{}\n")
    broken = common_pb2.Calibration(samples=8, sequence_length=32, source=str(path))
    error = await refused(service, checkpoint, GPTQ, calibration=broken)
    assert "c.jsonl line 1" in error.message


async def test_sequence_longer_than_the_context(service, checkpoint):
    calibration = common_pb2.Calibration(samples=8, sequence_length=129)
    error = await refused(service, checkpoint, GPTQ, calibration=calibration)
    assert error.field == "calibration.sequence_length"


async def test_request_id_of_something_else(service, checkpoint, tmp_path):
    other = write_checkpoint(tmp_path / "m", seed=77)
    await service.create(other, DENSE, request_id="taken")
    error = await refused(
        service, checkpoint, GPTQ, request_id="taken", calibration=small_calibration()
    )
    assert error.code is grpc.StatusCode.ALREADY_EXISTS


@pytest.mark.parametrize(
    ("recipe", "code", "words"),
    [
        ({"wanda": {}}, grpc.StatusCode.UNIMPLEMENTED, "tokens"),
        ({"sparsegpt": {}}, grpc.StatusCode.UNIMPLEMENTED, "tokens"),
        (
            {"rtn": {"bits": 4, "group_size": 32}, "layout": "packed"},
            grpc.StatusCode.UNIMPLEMENTED,
            "layers only",
        ),
        ({"dense": {}}, grpc.StatusCode.INVALID_ARGUMENT, "compresses nothing"),
    ],
)
async def test_embeddings_that_a_recipe_cannot_compress(service, checkpoint, recipe, code, words):
    asked = Recipe.parse(recipe | {"include_embeddings": True}).to_proto()
    error = await refused(service, checkpoint, asked, calibration=small_calibration())
    assert (error.code, error.field) == (code, "recipe.include_embeddings")
    assert words in error.message


async def test_what_is_not_built_yet(service, checkpoint):
    packed = common_pb2.Recipe(dense=common_pb2.DenseRecipe(), layout=common_pb2.LAYOUT_PACKED)
    assert (await refused(service, checkpoint, packed)).field == "recipe.layout"


async def test_paths_outside_the_allowed_folders(tmp_path, checkpoint, calibration_file):
    allowed = tmp_path / "allowed"
    write_checkpoint(allowed / "model")
    (allowed / "link").symlink_to(checkpoint)
    with running_service(
        tmp_path / "home",
        calibration_file,
        ASSAY_COMPRESSION_MODEL_PREFIXES=json.dumps([str(allowed)]),
    ) as service:
        await service.create(allowed / "model", DENSE)
        outside = [checkpoint, allowed / ".." / "elsewhere", allowed / "link", "/etc/passwd"]
        for path in outside:
            error = await refused(service, path)
            assert (error.code, error.field) == (grpc.StatusCode.PERMISSION_DENIED, "model.uri")


async def test_disk_that_is_too_small(tmp_path, checkpoint, calibration_file):
    with running_service(
        tmp_path / "home", calibration_file, ASSAY_COMPRESSION_DISK_RESERVE_BYTES=str(2**60)
    ) as service:
        error = await refused(service, checkpoint)
        assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_FULL")
