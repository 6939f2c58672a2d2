"""Every family: its layers run as in transformers, and only its matrices change."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from families import FAMILIES, loaded, write_family
from local_job import make
from safetensors.torch import load_file

from assay_compression.checkpoint.inspect import inspect
from assay_compression.methods.grid import GridSpec, fit
from assay_compression.worker.activations import Activations
from assay_core.errors import FailedPrecondition

EACH = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="session")
def family_checkpoints(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    return {name: write_family(root / name, name) for name in FAMILIES}


def tensors(path: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in sorted(path.glob("*.safetensors")):
        found |= load_file(file)
    return found


@EACH
def test_hidden_states_are_those_of_the_whole_model(family, family_checkpoints):
    checkpoint = inspect(family_checkpoints[family])
    sequences = torch.randint(3, 97, (3, 40), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = loaded(checkpoint.path)(sequences, output_hidden_states=True).hidden_states
        activations = Activations(checkpoint, sequences, torch.device("cpu"))
        torch.testing.assert_close(torch.cat(activations._hidden), expected[0])
        activations.advance(0, {})
        torch.testing.assert_close(torch.cat(activations._hidden), expected[1])


@EACH
def test_statistics_are_of_what_each_matrix_is_given(family, family_checkpoints):
    checkpoint = inspect(family_checkpoints[family])
    sequences = torch.randint(3, 97, (3, 40), generator=torch.Generator().manual_seed(2))
    model = loaded(checkpoint.path)
    given: dict[str, torch.Tensor] = {}
    hooks = [
        model.get_submodule(module).register_forward_pre_hook(
            lambda _, args, module=module: given.__setitem__(
                module, args[0].reshape(-1, args[0].shape[-1])
            )
        )
        for module in checkpoint.linear_names(0)
    ]
    with torch.inference_mode():
        model(sequences)
        seen = Activations(checkpoint, sequences, torch.device("cpu")).observe(0)
    for hook in hooks:
        hook.remove()
    assert seen.keys() == given.keys() == set(checkpoint.linear_names(0))
    for module, inputs in given.items():
        expected = 2 / len(inputs) * inputs.T @ inputs
        torch.testing.assert_close(seen[module].hessian, expected, rtol=1e-4, atol=1e-4)


@EACH
@pytest.mark.compression
def test_gptq_changes_the_matrices_of_the_layers_and_nothing_else(
    family, family_checkpoints, calibration_file, tmp_path
):
    source = family_checkpoints[family]
    recipe = {"gptq": {"bits": 3, "group_size": 16}}
    made = make(tmp_path / "home", source, recipe, calibration_file)
    checkpoint = inspect(source)
    changed = {f"{module}.weight" for module in checkpoint.linears}
    before, after = tensors(source), tensors(made)
    assert before.keys() == after.keys()
    for name, stored in after.items():
        if name not in changed:
            assert torch.equal(stored, before[name]), name
            continue
        transposed = family == "GPT2LMHeadModel"
        original, weight = (t.T if transposed else t for t in (before[name], stored))
        grid = fit(original, GridSpec(3, 16))
        assert torch.equal(grid.values(grid.codes(weight)), weight), name
    with torch.inference_mode():
        logits = loaded(made)(torch.arange(3, 40).unsqueeze(0)).logits
    assert logits.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.compression
def test_half_precision_shards_with_conv1d_stay_what_they_are(tmp_path, calibration_file, dtype):
    source = write_family(tmp_path / "m", "GPT2LMHeadModel", dtype=dtype, shard="100KB")
    assert len(inspect(source).weight_files) > 1
    made = make(tmp_path / "home", source, {"sparsegpt": {"pattern": "2:4"}}, calibration_file)
    before, after = tensors(source), tensors(made)
    assert {n: (w.dtype, w.shape) for n, w in after.items()} == {
        n: (w.dtype, w.shape) for n, w in before.items()
    }
    zeros = after["transformer.h.1.mlp.c_fc.weight"].T == 0
    assert (zeros.unflatten(-1, (-1, 4)).sum(-1) == 2).all()


def test_gpt2_without_its_prefix_is_gpt2(family_checkpoints, tmp_path):
    from safetensors.torch import save_file

    source = family_checkpoints["GPT2LMHeadModel"]
    bare = {n.removeprefix("transformer."): w for n, w in tensors(source).items()}
    # As in the checkpoint that OpenAI published: masks among the weights.
    bare["h.0.attn.bias"] = torch.ones(1, 1, 128, 128)
    target = tmp_path / "bare"
    target.mkdir()
    save_file(bare, target / "model.safetensors")
    (target / "config.json").write_text((source / "config.json").read_text())
    found = inspect(target)
    assert found.linears[0] == "h.0.attn.c_attn"
    assert found.parameters == inspect(source).parameters
    assert found.is_tied


@pytest.mark.parametrize(
    ("family", "tied"), [("LlamaForCausalLM", False), ("Qwen2ForCausalLM", True)]
)
def test_tied_embeddings_are_noticed(family, tied, family_checkpoints):
    assert inspect(family_checkpoints[family]).is_tied is tied


def test_matrices_that_the_family_does_not_have_are_named(tmp_path):
    from safetensors.torch import save_file

    source = write_family(tmp_path / "m", "LlamaForCausalLM")
    weights = tensors(source)
    weights["model.layers.1.mlp.experts.0.up_proj.weight"] = torch.ones(4, 4)
    save_file(weights, source / "model.safetensors")
    with pytest.raises(FailedPrecondition, match=r"model\.layers\.\*\.mlp\.experts\.") as caught:
        inspect(source)
    assert caught.value.reason == "UNSUPPORTED_ARCHITECTURE"
