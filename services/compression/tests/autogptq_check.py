"""What auto-gptq itself says, in its own environment (.venvs/autogptq), for tests in ours.

    autogptq_check.py bind REQUEST.json     binds every call of the tool to the library's signatures
    autogptq_check.py write PARENT FOLDER   packs PARENT's matrices, one checkpoint per row of GRIDS

`write` made tests/data/autogptq. Quantizing needs CUDA and its grid and its packing do not, so the
matrices are rounded to auto-gptq's own grid, packed by its own layer, and multiplied out by that
layer's own product with the identity, of which a digest is kept.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from pathlib import Path

import torch
from auto_gptq import AutoGPTQForCausalLM, BaseQuantizeConfig
from auto_gptq.modeling._base import BaseGPTQForCausalLM
from auto_gptq.nn_modules.qlinear.qlinear_cuda_old import QuantLinear
from auto_gptq.quantization.quantizer import Quantizer
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(Path(__file__).parents[1] / "src" / "assay_compression"))

from autogptq_tool import calls_of

GROUP = 16
GRIDS = {"2bit": (2, True), "3bit-asym": (3, False), "4bit": (4, True), "8bit": (8, True)}


def bind(request: Path) -> None:
    """Fails where the library's signatures do not take the tool's calls."""
    calls = calls_of(json.loads(request.read_text()))
    config = BaseQuantizeConfig(**calls["config"])
    inspect.signature(AutoGPTQForCausalLM.from_pretrained).bind(
        quantize_config=config, **calls["load"]
    )
    for name, method in (("quantize", "quantize"), ("save", "save_quantized")):
        inspect.signature(getattr(BaseGPTQForCausalLM, method)).bind(None, **calls[name])
    try:
        AutoGPTQForCausalLM.from_pretrained(quantize_config=config, **calls["load"])
    except OSError as error:
        sys.stdout.write(str(error))


def write(parent: Path, folder: Path) -> None:
    """Writes a checkpoint per grid, and the digests of what auto-gptq computes with."""
    for name, (bits, symmetric) in GRIDS.items():
        target = folder / name
        target.mkdir(parents=True)
        tensors = load_file(parent / "model.safetensors")
        digests = {}
        for key in [key for key in tensors if key.endswith("_proj.weight")]:
            module = key.removesuffix(".weight")
            layer = _packed(tensors.pop(key), bits, symmetric)
            for part in ("qweight", "qzeros", "scales", "g_idx"):
                tensors[f"{module}.{part}"] = getattr(layer, part).contiguous()
            weight = layer(torch.eye(layer.infeatures).half()).T.contiguous()
            digests[module] = hashlib.sha256(weight.numpy().tobytes()).hexdigest()
        save_file(tensors, target / "model.safetensors", {"format": "pt"})
        config = BaseQuantizeConfig(bits=bits, group_size=GROUP, desc_act=False, sym=symmetric)
        document = json.loads((parent / "config.json").read_text())
        document["quantization_config"] = config.to_dict()
        (target / "config.json").write_text(json.dumps(document, indent=2) + "\n")
        (target / "tokenizer.json").write_bytes((parent / "tokenizer.json").read_bytes())
        (target / "dequantized.json").write_text(json.dumps(digests, indent=1) + "\n")


def _packed(weight: torch.Tensor, bits: int, symmetric: bool) -> QuantLinear:
    outputs, inputs = weight.shape
    scales, zeros = [], []
    for start in range(0, inputs, GROUP):
        quantizer = Quantizer()
        quantizer.configure(bits, perchannel=True, sym=symmetric, mse=False)
        quantizer.find_params(weight[:, start : start + GROUP].float(), weight=True)
        scales.append(quantizer.scale)
        zeros.append(quantizer.zero)
    layer = QuantLinear(bits, GROUP, inputs, outputs, bias=False, weight_dtype=torch.float16)
    linear = torch.nn.Linear(inputs, outputs, bias=False)
    linear.weight.data = weight.clone()
    layer.pack(linear, torch.cat(scales, dim=1).half(), torch.cat(zeros, dim=1).half(), None)
    return layer


if __name__ == "__main__":
    if sys.argv[1] == "bind":
        bind(Path(sys.argv[2]))
    else:
        write(Path(sys.argv[2]), Path(sys.argv[3]))
