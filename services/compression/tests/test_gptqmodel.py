"""The GPTQ format both ways: files that GPTQModel wrote, and ours read by GPTQModel.

tests/data/gptqmodel holds checkpoints that GPTQModel 7.6 wrote (`gptqmodel_tool.py quantize`), with
a digest of every matrix that it computes with. What needs GPTQModel itself runs by
`make test-gptqmodel`.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
import torch
from families import loaded, write_family
from local_job import make
from safetensors.torch import load_file
from test_register import folder, register

from assay_core.pb import common_pb2

pytestmark = pytest.mark.compression

DATA = Path(__file__).parent / "data" / "gptqmodel"
NAMES = sorted(file.parent.name for file in DATA.glob("*/dequantized.json"))
PYTHON = Path(__file__).parents[3] / ".venvs" / "gptqmodel" / "bin" / "python"
GRIDS = [(bits, symmetric) for bits in (2, 3, 4, 8) for symmetric in (True, False)]


def digest(weight: torch.Tensor) -> str:
    return hashlib.sha256(weight.half().contiguous().numpy().tobytes()).hexdigest()


def matrices(checkpoint: Path, names) -> dict[str, str]:
    weights = load_file(checkpoint / "model.safetensors")
    return {name: digest(weights[f"{name}.weight"]) for name in names}


def test_files_of_every_kind_are_there():
    assert NAMES == ["2bit", "3bit", "4bit-desc_act", "4bit-v2-asym", "8bit"]


@pytest.mark.parametrize("name", NAMES)
async def test_file_that_gptqmodel_wrote_is_read_as_gptqmodel_reads_it(service, name):
    made = await register(service, DATA / name, DATA / "parent", layout=common_pb2.LAYOUT_DENSE)
    assert made.meta.state == common_pb2.STATE_SUCCEEDED, made.meta.error
    config = json.loads((DATA / name / "config.json").read_text())["quantization_config"]
    method = made.recipe.imported
    assert (method.bits, method.group_size) == (config["bits"], config["group_size"])
    assert (method.act_order, method.symmetric) == (config["desc_act"], config["sym"])
    expected = json.loads((DATA / name / "dequantized.json").read_text())[name]["weights"]
    assert len(expected) == 7
    assert matrices(folder(made), expected) == expected


@pytest.mark.gptqmodel
def test_gptqmodel_reads_our_files_as_we_mean_them(tmp_path, calibration_file):
    if not PYTHON.exists():
        pytest.skip("make test-gptqmodel makes the environment of GPTQModel")
    model = write_family(tmp_path / "llama", "LlamaForCausalLM", dtype=torch.float16)
    packed, dense = [], []
    for bits, symmetric in GRIDS:
        grid = {"bits": bits, "group_size": 32, "symmetric": symmetric}
        for recipe in ({"gptq": grid | {"act_order": True}}, {"rtn": grid}):
            packed.append(
                make(tmp_path / "home", model, recipe | {"layout": "packed-gptq"}, calibration_file)
            )
            # The same integers as plain matrices: the dense layout's scales are float16 too.
            dense.append(make(tmp_path / "home", model, recipe, calibration_file))
    target = tmp_path / "found.json"
    tool = Path(__file__).parent / "gptqmodel_tool.py"
    subprocess.run([PYTHON, tool, "dequantize", target, *packed], check=True, capture_output=True)
    found = json.loads(target.read_text())
    ids = torch.arange(3, 60).unsqueeze(0)
    for checkpoint, plain in zip(packed, dense, strict=True):
        theirs = found[checkpoint.name]
        assert matrices(plain, theirs["weights"]) == theirs["weights"]
        with torch.inference_mode():
            logits = loaded(plain)(ids).logits[0, -1]
        torch.testing.assert_close(torch.tensor(theirs["logits"]), logits, atol=0.02, rtol=0.02)
