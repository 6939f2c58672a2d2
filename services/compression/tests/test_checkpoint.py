"""Checkpoints: what is accepted, what is refused, and what identifies one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_llama import LAYERS, write_checkpoint

from assay_compression.checkpoint.inspect import inspect
from assay_compression.checkpoint.scan import Scanner, model_digest
from assay_core.errors import FailedPrecondition


def test_linears_are_those_of_the_layers_and_never_embeddings_or_head(checkpoint):
    found = inspect(checkpoint)
    assert len(found.linears) == 7 * LAYERS
    assert not {name for name in found.linears if "embed" in name or "lm_head" in name}


def test_shards_give_the_tensors_of_one_file(checkpoint, tmp_path):
    sharded = inspect(write_checkpoint(tmp_path / "sharded", shards=3))
    assert sharded.tensors.keys() == inspect(checkpoint).tensors.keys()
    assert len(sharded.weight_files) == 3


def test_index_may_not_point_outside(tmp_path):
    path = write_checkpoint(tmp_path / "m", shards=2)
    index = path / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-00001", "../model-00001"))
    with pytest.raises(FailedPrecondition, match="outside the checkpoint"):
        inspect(path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_single_bad_weight_is_found_and_named(tmp_path, dtype, value):
    path = write_checkpoint(tmp_path / "m", dtype=dtype)
    weights = load_file(path / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    weights[name][3, 7] = value
    save_file(weights, path / "model.safetensors")
    with pytest.raises(FailedPrecondition, match=name):
        Scanner(tmp_path / "cache").scan(inspect(path))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_largest_and_smallest_finite_weights_pass(tmp_path, dtype):
    path = write_checkpoint(tmp_path / "m", dtype=dtype)
    weights = load_file(path / "model.safetensors")
    limits = torch.finfo(dtype)
    weights["lm_head.weight"][0, :3] = torch.tensor(
        [limits.max, limits.min, limits.smallest_normal], dtype=dtype
    )
    save_file(weights, path / "model.safetensors")
    Scanner(tmp_path / "cache").scan(inspect(path))


def test_digest_is_of_the_content_and_not_of_the_place(checkpoint, tmp_path):
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    (copy / "README.md").write_text("not part of the model")
    scanner = Scanner(tmp_path / "cache")
    digests = {model_digest(scanner.scan(inspect(path))) for path in (checkpoint, copy)}
    assert len(digests) == 1
    other = write_checkpoint(tmp_path / "other", seed=1)
    assert model_digest(scanner.scan(inspect(other))) not in digests


def test_unchanged_files_are_not_read_again_and_changed_ones_are(tmp_path):
    path = write_checkpoint(tmp_path / "m")
    scanner = Scanner(tmp_path / "cache")
    first = scanner.scan(inspect(path))
    config = path / "config.json"
    stat = config.stat()
    # Same size and time: taken as known, as documented.
    config.write_text(config.read_text().replace("1e-05", "1e-06"))
    os.utime(config, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert Scanner(tmp_path / "cache").scan(inspect(path)) == first
    os.utime(config, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert model_digest(scanner.scan(inspect(path))) != model_digest(first)
