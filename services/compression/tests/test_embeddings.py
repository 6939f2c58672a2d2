"""include_embeddings: the output head by the method, the embedding by what is left of it there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from families import FAMILIES, loaded, write_family
from local_job import job, make
from safetensors.torch import load_file, save_file
from test_families import tensors

from assay_compression.checkpoint.inspect import inspect
from assay_compression.efficiency import count
from assay_compression.methods.grid import GridSpec, fit
from assay_compression.methods.magnitude import magnitude
from assay_compression.methods.masks import BlockPattern
from assay_compression.methods.rtn import rtn
from assay_compression.worker.activations import Activations
from assay_compression.worker.job import run_job

EACH = pytest.mark.parametrize("family", FAMILIES)
SPEC = GridSpec(4, 16)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("embeddings")
    return {name: write_family(root / name, name) for name in FAMILIES}


def rounded(weight: torch.Tensor) -> torch.Tensor:
    return rtn(weight, SPEC, scale_dtype=torch.float32).weight


def asked(method: str, **parameters) -> dict:
    return {method: parameters, "include_embeddings": True}


def modules(made: Path) -> dict:
    return json.loads((made / "weights.json").read_text())["modules"]


@EACH
def test_head_sees_what_the_models_own_head_is_given(family, checkpoints):
    checkpoint = inspect(checkpoints[family])
    sequences = torch.randint(3, 97, (3, 40), generator=torch.Generator().manual_seed(3))
    model = loaded(checkpoint.path)
    given = []
    hook = model.get_output_embeddings().register_forward_pre_hook(
        lambda _, args: given.append(args[0].flatten(0, 1))
    )
    with torch.inference_mode():
        model(sequences)
        activations = Activations(checkpoint, sequences, torch.device("cpu"))
        for layer in range(checkpoint.layers):
            activations.advance(layer, {})
        seen = activations.observe_head()
    hook.remove()
    expected = 2 / len(given[0]) * given[0].T @ given[0]
    torch.testing.assert_close(seen.hessian, expected, rtol=1e-4, atol=1e-4)


@EACH
@pytest.mark.compression
def test_round_to_nearest_rounds_embedding_and_head_too(
    family, checkpoints, calibration_file, tmp_path
):
    source = checkpoints[family]
    made = make(tmp_path / "home", source, asked("rtn", bits=4, group_size=16), calibration_file)
    checkpoint = inspect(source)
    before, after = tensors(source), tensors(made)
    outside = {f"{module}.weight" for module in checkpoint.outside}
    assert len(outside) == (1 if checkpoint.is_tied else 2)
    for name in outside:
        assert torch.equal(after[name], rounded(before[name])), name
    layers = {f"{module}.weight" for module in checkpoint.linears}
    for name in before.keys() - outside - layers:
        assert torch.equal(after[name], before[name]), name
    assert set(checkpoint.outside) < set(modules(made))
    with torch.inference_mode():
        assert loaded(made)(torch.arange(3, 40).unsqueeze(0)).logits.isfinite().all()


@EACH
@pytest.mark.compression
def test_gptq_quantizes_the_head_and_rounds_an_embedding_that_is_only_looked_up(
    family, checkpoints, calibration_file, tmp_path
):
    source = checkpoints[family]
    made = make(tmp_path / "home", source, asked("gptq", bits=4, group_size=16), calibration_file)
    checkpoint = inspect(source)
    before, after = tensors(source), tensors(made)
    head = f"{checkpoint.head_module}.weight"
    grid = fit(before[head], SPEC)
    assert torch.equal(grid.values(grid.codes(after[head])), after[head])
    assert not torch.equal(after[head], rounded(before[head]))
    record = modules(made)[checkpoint.head_module]
    assert record["output_error"] is not None
    assert not record["rounded_to_nearest"]
    if not checkpoint.is_tied:
        name = checkpoint.embedding_module
        assert torch.equal(after[f"{name}.weight"], rounded(before[f"{name}.weight"]))
        assert modules(made)[name]["rounded_to_nearest"]
        assert modules(made)[name]["output_error"] is None


@pytest.mark.compression
def test_blocks_of_an_embedding_run_along_a_tokens_vector(checkpoint, calibration_file, tmp_path):
    made = make(tmp_path / "home", checkpoint, asked("magnitude", pattern="2:4"), calibration_file)
    before, after = tensors(checkpoint), tensors(made)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        expected = magnitude(before[name], sparsity=0.5, pattern=BlockPattern(2, 4))
        assert torch.equal(after[name], expected)


@pytest.mark.compression
@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
def test_tied_embeddings_are_pruned_once_as_the_head(
    method, checkpoints, calibration_file, tmp_path
):
    source = checkpoints["Qwen2ForCausalLM"]
    made = make(tmp_path / "home", source, asked(method, pattern="2:4"), calibration_file)
    embedding = tensors(made)["model.embed_tokens.weight"]
    assert ((embedding == 0).unflatten(-1, (-1, 4)).sum(-1) == 2).all()
    assert modules(made)["model.embed_tokens"]["output_error"] > 0
    assert "lm_head" not in modules(made)


@pytest.mark.compression
def test_tied_embeddings_that_are_stored_twice_stay_equal(calibration_file, tmp_path):
    source = write_family(tmp_path / "m", "Qwen2ForCausalLM")
    weights = load_file(source / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, source / "model.safetensors", metadata={"format": "pt"})
    made = tensors(
        make(tmp_path / "home", source, asked("rtn", bits=4, group_size=16), calibration_file)
    )
    assert torch.equal(made["lm_head.weight"], made["model.embed_tokens.weight"])
    assert torch.equal(made["lm_head.weight"], rounded(weights["lm_head.weight"]))


@pytest.mark.compression
def test_layers_are_calibrated_with_the_compressed_embedding(
    checkpoint, calibration_file, tmp_path
):
    recipe = {"gptq": {"bits": 4, "group_size": 16}}
    with_embedding = make(
        tmp_path / "home", checkpoint, recipe | {"include_embeddings": True}, calibration_file
    )
    # The same job on a checkpoint whose embedding was rounded beforehand.
    weights = tensors(checkpoint)
    weights["model.embed_tokens.weight"] = rounded(weights["model.embed_tokens.weight"])
    copy = tmp_path / "rounded"
    copy.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (copy / name).write_bytes((checkpoint / name).read_bytes())
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    expected = tensors(make(tmp_path / "home", copy, recipe, calibration_file))
    found = tensors(with_embedding)
    for module in inspect(checkpoint).linears:
        assert torch.equal(found[f"{module}.weight"], expected[f"{module}.weight"])


@pytest.mark.compression
def test_a_job_that_stopped_before_the_head_resumes_to_the_same_bytes(
    checkpoint, calibration_file, tmp_path
):
    recipe = asked("gptq", bits=4, group_size=16)
    expected = tensors(make(tmp_path / "one", checkpoint, recipe, calibration_file))

    class StoppedError(Exception):
        pass

    def stop(report) -> None:
        if getattr(report, "phase", "") == "compressing the output head":
            raise StoppedError

    with pytest.raises(StoppedError):
        run_job(job(tmp_path / "two", checkpoint, recipe, calibration_file), stop)
    found = tensors(make(tmp_path / "two", checkpoint, recipe, calibration_file))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_costs_count_embedding_and_head_at_their_bits(checkpoint):
    found = inspect(checkpoint)
    costs = count(found, found.compressed(include_embeddings=True), 8.0)
    norms = 4 * 64 * (2 * found.layers + 1)
    matrices = found.parameters - norms // 4
    assert costs.packed_bytes == matrices + norms
    # One byte a weight: a decode step reads all but the table, and one row of it.
    assert costs.decode_bytes_per_token == costs.packed_bytes - 97 * 64 + 64
