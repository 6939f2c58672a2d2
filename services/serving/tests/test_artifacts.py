"""Artifacts: identity by content, precise refusals, and what can be swapped with what."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from assay_core.digest import sha256_bytes
from assay_core.errors import DataLoss, FailedPrecondition, InvalidArgument, NotFound
from assay_core.manifest import build_manifest, write_manifest
from assay_core.storage import ObjectStore
from assay_serving.artifacts import Artifact, open_artifact, verify_files
from assay_serving.description import Description, describe
from assay_serving.domain import EngineOptions
from assay_serving.engine.arguments import engine_keywords, gpus, replica_numbers
from assay_serving.engine.chat import PLAIN_TEMPLATE
from assay_serving.engine.identity import engine_spec, identity_of
from assay_serving.settings import ServingSettings

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 8,
    "max_position_embeddings": 512,
    "dtype": "float32",
}


def make(path: Path, *, weight: float = 1.0, manifest: bool = False, **config: Any) -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(CONFIG | config))
    (path / "tokenizer.json").write_text("{}")
    save_file({"w": np.full((2, 2), weight, dtype=np.float32)}, path / "model.safetensors")
    if manifest:
        write_manifest(path, build_manifest(path, kind="artifact", identity={"recipe": "dense"}))
    return path


def opened(path: Path, **options: Any) -> Artifact:
    return open_artifact(str(path), allowed=["file:///"], cache=path.parent / "cache", **options)


def test_a_path_and_its_uri_are_one_artifact(tmp_path):
    path = make(tmp_path / "with space")
    by_uri = open_artifact(path.as_uri(), allowed=["file:///"], cache=tmp_path)
    assert by_uri.path == path
    assert by_uri.digest == opened(path).digest


def test_the_digest_of_an_artifact_is_that_of_its_manifest(tmp_path):
    path = make(tmp_path / "a", manifest=True)
    manifest = build_manifest(path, kind="artifact", identity={"recipe": "dense"})
    assert opened(path).digest == manifest.digest
    (path / "run.json").write_text("{}")
    assert opened(path).digest == manifest.digest, "how a job ran is not part of the identity"


def test_another_digest_than_expected_is_refused(tmp_path):
    path = make(tmp_path / "a")
    right = opened(path).digest
    assert opened(path, expected_digest=right).digest == right
    with pytest.raises(FailedPrecondition) as refusal:
        opened(path, expected_digest=sha256_bytes(b""))
    assert refusal.value.reason == "DIGEST_MISMATCH"


def test_variants_of_one_model_can_be_swapped_and_others_not(tmp_path):
    base = opened(make(tmp_path / "a"))
    variant = opened(make(tmp_path / "b", weight=2.0, transformers_version="9"))
    wider = opened(make(tmp_path / "c", hidden_size=16))
    packed = [
        opened(make(tmp_path / name, weight=w, quantization_config={"bits": 4}))
        for name, w in (("d", 1.0), ("e", 2.0))
    ]
    assert base.digest != variant.digest
    assert base.swap_family == variant.swap_family
    assert len({a.swap_family for a in (base, wider, *packed)}) == 4


def test_the_chat_template_in_use_is_the_models_own_or_the_plain_one(tmp_path):
    path = make(tmp_path / "a")
    assert opened(path).chat_template_digest == sha256_bytes(PLAIN_TEMPLATE.encode())
    (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ x }}"}))
    assert opened(path).chat_template_digest == sha256_bytes(b"{{ x }}")
    (path / "chat_template.jinja").write_text("{{ y }}")
    assert opened(path).chat_template_digest == sha256_bytes(b"{{ y }}")


@pytest.mark.parametrize("change", ["flip", "truncate", "delete", "add"])
def test_verification_names_the_file_that_is_not_what_was_published(tmp_path, change):
    path = make(tmp_path / "a", manifest=True)
    digest = opened(path).digest
    verify_files(path, digest)
    weights = path / "model.safetensors"
    content = weights.read_bytes()
    name = "model.safetensors"
    match change:
        case "flip":
            weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "truncate":
            weights.write_bytes(content[:-1])
        case "delete":
            weights.unlink()
        case "add":
            name = "model-00002.safetensors"
            (path / name).write_bytes(content)
    with pytest.raises(DataLoss) as failure:
        verify_files(path, digest)
    assert name in failure.value.message


def test_a_missing_shard_is_found_by_the_index(tmp_path):
    path = make(tmp_path / "a")
    index = {"weight_map": {"w": "model.safetensors", "v": "model-00002.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(DataLoss) as failure:
        opened(path)
    assert "model-00002.safetensors" in failure.value.message


def test_what_is_no_checkpoint_is_refused_by_name(tmp_path):
    with pytest.raises(InvalidArgument):
        open_artifact("", allowed=["file:///"], cache=tmp_path)
    with pytest.raises(NotFound):
        opened(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FailedPrecondition) as refusal:
        opened(tmp_path / "empty")
    assert "config.json" in refusal.value.message


def test_a_prefix_is_a_whole_folder(tmp_path):
    path = make(tmp_path / "models-private")
    with pytest.raises(Exception, match="artifact_uri") as refusal:
        open_artifact(str(path), allowed=[(tmp_path / "models").as_uri()], cache=tmp_path)
    assert refusal.value.reason == "URI_NOT_ALLOWED"


def test_an_engine_on_a_cpu_computes_in_float32_within_the_models_context(tmp_path):
    artifact = opened(make(tmp_path / "a", dtype="bfloat16"))
    spec = engine_spec(artifact, EngineOptions(), default_max_len=8192)
    assert (spec.dtype, spec.max_model_len) == ("float32", 512)
    identity = identity_of(spec)
    assert (identity.family, identity.kv_cache_dtype, identity.device_class) == (
        "vllm-cpu",
        "float32",
        "cpu",
    )
    chosen = EngineOptions(dtype="bfloat16", max_model_len=128)
    spec = engine_spec(artifact, chosen, default_max_len=8192)
    assert (spec.dtype, spec.max_model_len) == ("bfloat16", 128)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (EngineOptions(max_model_len=513), "options.max_model_len"),
        (EngineOptions(tensor_parallel_size=2), "options.tensor_parallel_size"),
        (EngineOptions(kv_cache_dtype="fp8"), "options.kv_cache_dtype"),
    ],
)
def test_an_engine_that_cannot_be_had_here_is_refused_by_option(tmp_path, options, field):
    artifact = opened(make(tmp_path / "a"))
    with pytest.raises(InvalidArgument) as refusal:
        engine_spec(artifact, options, default_max_len=8192)
    assert refusal.value.field == field


def test_a_share_of_a_gpu_is_refused_where_there_is_none(tmp_path):
    artifact = opened(make(tmp_path / "a"))
    with pytest.raises(FailedPrecondition) as refusal:
        engine_spec(artifact, EngineOptions(gpu_share=0.5), default_max_len=8192)
    assert (refusal.value.field, refusal.value.reason) == ("options.gpu_share", "NO_GPU")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (EngineOptions(replicas=3, max_replicas=2), "options.max_replicas"),
        (EngineOptions(gpu_share=0.5, tensor_parallel_size=2), "options.gpu_share"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path, options, field):
    artifact = opened(make(tmp_path / "a"))
    with pytest.raises(InvalidArgument) as refusal:
        engine_spec(artifact, options, default_max_len=8192, device="cuda")
    assert refusal.value.field == field


def test_a_load_sets_up_its_engine_over_the_settings(tmp_path):
    make(tmp_path / "a")
    settings = ServingSettings(home=tmp_path, replicas=2, max_replicas=4, kv_cache_gib=3)
    default = describe(settings, str(tmp_path / "a"), EngineOptions())
    assert replica_numbers(default.spec) == {
        "autoscaling_config": {
            "min_replicas": 2,
            "initial_replicas": 2,
            "max_replicas": 4,
            "target_ongoing_requests": 2.0,
        }
    }
    assert default.spec.kv_cache_gib == 3
    chosen = EngineOptions(replicas=5, max_replicas=5, kv_cache_gib=1)
    other = describe(settings, str(tmp_path / "a"), chosen)
    assert replica_numbers(other.spec) == {"num_replicas": 5}
    assert other.engine_id != default.engine_id


def test_on_a_gpu_share_and_cache_reach_ray_and_the_engine(tmp_path):
    artifact = opened(make(tmp_path / "a"))
    options = EngineOptions(gpu_share=0.25, kv_cache_gib=2)
    spec = engine_spec(artifact, options, default_max_len=8192, device="cuda")
    assert gpus(spec) == 0.25
    keywords = engine_keywords("x", spec)
    assert keywords["gpu_memory_utilization"] == 0.25
    assert keywords["kv_cache_memory_bytes"] == 2 * 2**30
    parallel = EngineOptions(tensor_parallel_size=4)
    spec = engine_spec(artifact, parallel, default_max_len=8192, device="cuda")
    assert gpus(spec) == 4
    assert "gpu_memory_utilization" not in engine_keywords("x", spec)


@pytest.mark.parametrize(
    "uri",
    [
        "~nobody-of-this-name/model",
        "/a\0b",
        "file:///%00",
        "file://[",
        "s3://[bucket",
        f"/{'x' * 300}",
        "/etc/passwd/model",
    ],
)
def test_a_uri_that_leads_nowhere_is_the_callers_mistake(tmp_path, uri):
    with pytest.raises((InvalidArgument, NotFound, FailedPrecondition)) as refusal:
        open_and_describe(tmp_path, uri)
    assert refusal.value.field == "artifact_uri"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_files_that_cannot_be_read_are_refused_by_name(tmp_path):
    path = make(tmp_path / "m")
    (path / "config.json").chmod(0)
    with pytest.raises(FailedPrecondition) as refusal:
        open_and_describe(tmp_path, str(path))
    assert refusal.value.reason == "ARTIFACT_UNREADABLE"


@pytest.mark.parametrize("length", ["long", None, -3, 0.5])
def test_a_config_without_a_usable_context_length_leaves_it_to_the_settings(tmp_path, length):
    path = make(tmp_path / "m", max_position_embeddings=length)
    assert open_and_describe(tmp_path, str(path)).spec.max_model_len == 8192


def test_a_config_with_an_infinity_has_an_engine_too(tmp_path):
    path = make(tmp_path / "m", time_step_limit=[0.0, float("inf")])
    assert open_and_describe(tmp_path, str(path)).engine_id


def test_an_index_that_is_none_is_damaged(tmp_path):
    path = make(tmp_path / "m")
    (path / "model.safetensors.index.json").write_text('{"weight_map": [1]}')
    with pytest.raises(DataLoss) as refusal:
        open_and_describe(tmp_path, str(path))
    assert refusal.value.metadata["file"] == "model.safetensors.index.json"


def test_a_remote_artifact_is_downloaded_once_however_many_ask_for_it(tmp_path, monkeypatch):
    path = make(tmp_path / "m", manifest=True)
    ObjectStore("memory://once").upload_tree(path, "a")
    download, downloads = ObjectStore.download, []

    def slow(store, prefix, to):
        if not to.exists():
            downloads.append(to)
            time.sleep(0.2)
        return download(store, prefix, to)

    monkeypatch.setattr(ObjectStore, "download", slow)
    ask = partial(open_artifact, "memory://once/a", allowed=["memory://once"], cache=tmp_path / "c")
    with ThreadPoolExecutor(4) as threads:
        found = [asked.result() for asked in [threads.submit(ask) for _ in range(4)]]
    assert {artifact.digest for artifact in found} == {opened(path).digest}
    assert len(downloads) == 1


def open_and_describe(home: Path, uri: str) -> Description:
    return describe(ServingSettings(home=home), uri, EngineOptions())
