"""Calibration text from an object store: where from, one content one variant, clear errors."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import fsspec
import grpc
import pytest
import torch
from local_job import make
from safetensors.torch import load_file

from assay_compression.planning import Planner
from assay_compression.remote_text import fetch
from assay_compression.settings import CompressionSettings
from assay_core.errors import AssayError
from assay_core.recipes import Calibration, Recipe

GPTQ = Recipe.parse({"gptq": {"bits": 4, "group_size": 32}})


@pytest.fixture
def bucket(calibration_file) -> str:
    """A folder of an object store of this process, with a calibration text."""
    uri = f"memory://bucket-{uuid.uuid4().hex}/texts"
    with fsspec.open(f"{uri}/valley.jsonl", "wb") as stream:
        stream.write(calibration_file.read_bytes())
    return uri


def plan(home: Path, model: Path, source: str, **settings):
    calibration = Calibration(samples=8, sequence_length=32, source=source)
    planner = Planner(CompressionSettings(home=home, **settings))
    return planner.plan(str(model), "", GPTQ, calibration)


def refused(*args, **settings) -> AssayError:
    with pytest.raises(AssayError) as caught:
        plan(*args, **settings)
    assert caught.value.field == "calibration.source"
    assert caught.value.remedy
    return caught.value


def test_the_same_text_is_the_same_variant_wherever_it_lies(
    tmp_path, checkpoint, calibration_file, bucket
):
    remote = plan(tmp_path, checkpoint, f"{bucket}/valley.jsonl")
    local = plan(tmp_path, checkpoint, str(calibration_file))
    assert remote.calibration == local.calibration
    assert remote.variant_key == local.variant_key
    assert remote.calibration_file.name == "valley.jsonl"
    assert remote.calibration_file.read_bytes() == calibration_file.read_bytes()


def test_changed_text_is_another_variant(tmp_path, checkpoint, bucket):
    first = plan(tmp_path, checkpoint, f"{bucket}/valley.jsonl")
    with fsspec.open(f"{bucket}/valley.jsonl", "ab") as stream:
        stream.write(json.dumps({"text": "w1 w2"}).encode() + b"\n")
    second = plan(tmp_path, checkpoint, f"{bucket}/valley.jsonl")
    assert first.variant_key != second.variant_key
    assert first.calibration_file.read_bytes() != second.calibration_file.read_bytes()


@pytest.mark.compression
def test_a_job_with_remote_text_gives_the_bytes_of_one_with_the_file(
    tmp_path, checkpoint, calibration_file, bucket
):
    made = [
        make(tmp_path / name, checkpoint, GPTQ.canonical(), source)
        for name, source in (
            ("local", calibration_file),
            ("remote", plan(tmp_path, checkpoint, f"{bucket}/valley.jsonl").calibration_file),
        )
    ]
    one, other = (load_file(folder / "model.safetensors") for folder in made)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_only_allowed_prefixes_are_read(tmp_path, checkpoint, bucket):
    allowed = [bucket, str(checkpoint.parent)]
    assert plan(tmp_path, checkpoint, f"{bucket}/valley.jsonl", model_prefixes=allowed)
    for outside in (f"{bucket}-2/valley.jsonl", "memory://elsewhere/valley.jsonl", "s3://b/c.txt"):
        error = refused(tmp_path, checkpoint, outside, model_prefixes=allowed)
        assert (error.code, error.reason) == (
            grpc.StatusCode.PERMISSION_DENIED,
            "URI_NOT_ALLOWED",
        )


def test_climbing_out_of_a_prefix_is_refused(tmp_path, checkpoint, bucket):
    allowed = [bucket, str(checkpoint.parent)]
    error = refused(tmp_path, checkpoint, f"{bucket}/../x.jsonl", model_prefixes=allowed)
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_server_that_others_reach_reads_nothing_by_default(tmp_path, bucket):
    settings = CompressionSettings(home=tmp_path, listen="0.0.0.0:7401")
    with pytest.raises(AssayError, match="ASSAY_COMPRESSION_MODEL_PREFIXES"):
        fetch(f"{bucket}/valley.jsonl", settings.remote_prefixes, settings.calibration_cache)


def test_missing_object(tmp_path, checkpoint, bucket):
    error = refused(tmp_path, checkpoint, f"{bucket}/nothing.jsonl")
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "CALIBRATION_NOT_FOUND")


def test_scheme_without_its_driver(tmp_path, checkpoint):
    error = refused(tmp_path, checkpoint, "abfs://container/c.jsonl")
    assert error.code is grpc.StatusCode.UNIMPLEMENTED
    assert "adlfs" in error.remedy


def test_web_addresses_are_not_read(tmp_path, checkpoint):
    error = refused(tmp_path, checkpoint, "https://example.invalid/c.jsonl")
    assert error.code is grpc.StatusCode.UNIMPLEMENTED


def test_broken_text_is_named_by_its_own_name(tmp_path, checkpoint, bucket):
    with fsspec.open(f"{bucket}/broken.jsonl", "wb") as stream:
        stream.write(b"{}\n")
    assert "broken.jsonl line 1" in refused(tmp_path, checkpoint, f"{bucket}/broken.jsonl").message
