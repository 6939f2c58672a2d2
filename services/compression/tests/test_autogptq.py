"""auto-gptq: refused without CUDA, its format read bit by bit, its calls held to its signatures.

tests/data/autogptq holds checkpoints that auto-gptq 0.7.1 packed (`autogptq_check.py write`), with
a digest of every matrix that it computes with. What needs auto-gptq itself runs by
`make test-autogptq`. Nothing here quantizes with it: that needs CUDA.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from families import loaded, write_family
from test_gptqmodel import matrices
from test_register import folder, register

from assay_compression import autogptq, autogptq_tool
from assay_core.errors import AssayError
from assay_core.pb import common_pb2

pytestmark = pytest.mark.compression

DATA = Path(__file__).parent / "data" / "autogptq"
PARENT = Path(__file__).parent / "data" / "gptqmodel" / "parent"
PYTHON = Path(__file__).parents[3] / ".venvs" / "autogptq" / "bin" / "python"
NAMES = ["2bit", "3bit-asym", "4bit", "8bit"]


def options(model: Path, out: Path, calibration: Path, *more: str) -> argparse.Namespace:
    flags = ["--calibration", str(calibration), "--group-size", "32", "--samples", "4"]
    return autogptq._parser().parse_args(
        [str(model), str(out), *flags, "--sequence-length", "16", *more]
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_family(tmp_path / "llama", "LlamaForCausalLM")


@pytest.mark.parametrize("name", NAMES)
async def test_file_that_auto_gptq_packed_is_read_as_auto_gptq_reads_it(service, name):
    made = await register(service, DATA / name, PARENT, layout=common_pb2.LAYOUT_DENSE)
    assert made.meta.state == common_pb2.STATE_SUCCEEDED, made.meta.error
    config = json.loads((DATA / name / "config.json").read_text())["quantization_config"]
    method = made.recipe.imported
    assert (method.bits, method.group_size) == (config["bits"], config["group_size"])
    assert method.symmetric == config["sym"]
    expected = json.loads((DATA / name / "dequantized.json").read_text())
    assert len(expected) == 7
    assert matrices(folder(made), expected) == expected


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_without_cuda_it_is_refused_before_anything_is_read_or_made(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "assay_compression.autogptq", "no-such-model", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "CUDA only" in done.stderr
    assert "packed-gptq" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_its_environment_it_says_how_to_make_it(tmp_path, model, calibration_file):
    given = options(model, tmp_path / "out", calibration_file, "--python", str(tmp_path / "none"))
    with pytest.raises(AssayError, match="make autogptq"):
        autogptq.quantize(given)
    assert not (tmp_path / "out").exists()


def test_code_that_a_checkpoint_brings_is_refused(tmp_path, model, calibration_file):
    """auto-gptq reads config.json with trust_remote_code, whatever it is told."""
    document = json.loads((model / "config.json").read_text())
    document["auto_map"] = {"AutoConfig": "evil.Config"}
    (model / "config.json").write_text(json.dumps(document))
    with pytest.raises(AssayError) as caught:
        autogptq.request_of(options(model, tmp_path / "out", calibration_file), tmp_path / "p")
    assert caught.value.reason == "REMOTE_CODE"


def test_a_group_size_that_does_not_divide_names_the_matrix(tmp_path, model, calibration_file):
    given = options(model, tmp_path / "out", calibration_file, "--group-size", "96")
    with pytest.raises(AssayError) as caught:
        autogptq.request_of(given, tmp_path / "p")
    assert caught.value.field == "recipe.gptq.group_size"


def test_a_failed_run_leaves_nothing(tmp_path, model, calibration_file):
    failing = tmp_path / "bin" / "python"
    failing.parent.mkdir()
    shutil.copyfile(shutil.which("false"), failing)
    failing.chmod(0o755)
    given = options(model, tmp_path / "made" / "out", calibration_file, "--python", str(failing))
    with pytest.raises(AssayError) as caught:
        autogptq.quantize(given)
    assert caught.value.reason == "BACKEND_FAILED"
    assert not (tmp_path / "made").exists() or not list((tmp_path / "made").iterdir())


def test_rotary_embeddings_are_what_auto_gptq_leaves_on_the_cpu(model):
    """Seen on a GPU: transformers 4.49 has them outside the layers, and auto-gptq moves layers."""
    loaded_model = loaded(model)
    assert autogptq_tool.left_behind(loaded_model) == [loaded_model.model.rotary_emb]


@pytest.mark.autogptq
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_the_library_takes_our_calls_and_refuses_only_for_want_of_cuda(
    tmp_path, model, calibration_file
):
    if not PYTHON.exists():
        pytest.skip("make test-autogptq makes the environment of auto-gptq")
    request = tmp_path / "request.json"
    given = options(model, tmp_path / "out", calibration_file, "--act-order", "--asymmetric")
    request.write_text(json.dumps(autogptq.request_of(given, tmp_path / "out")))
    check = Path(__file__).with_name("autogptq_check.py")
    bound = subprocess.run(
        [PYTHON, check, "bind", request], check=True, capture_output=True, text=True
    )
    assert "requires CUDA" in bound.stdout
    ran = subprocess.run(
        [PYTHON, autogptq.TOOL, request], check=False, capture_output=True, text=True
    )
    assert ran.returncode == 1
    assert "requires CUDA" in ran.stderr
