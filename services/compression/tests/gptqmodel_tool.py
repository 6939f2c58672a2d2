"""What GPTQModel does, in its own environment (.venvs/gptqmodel), for tests in ours.

    gptqmodel_tool.py quantize FOLDER
    gptqmodel_tool.py dequantize FILE.json CHECKPOINT...

`quantize` writes a tiny random Llama, FOLDER/parent, and compresses it once per row of SETTINGS;
tests/data/gptqmodel was written so. `dequantize` loads checkpoints and keeps what GPTQModel
computes with: a digest of every weight `[out, in]` in float16, and the logits of fixed tokens.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

# Compiling its packing costs half a minute per module and changes no result.
os.environ |= {"GPTQMODEL_CPU_WORKERS": "2", "TORCHDYNAMO_DISABLE": "1"}

import torch
from gptqmodel import BACKEND, GPTQModel, QuantizeConfig
from tiny_llama import VOCAB, write_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

SETTINGS: dict[str, dict[str, Any]] = {
    "2bit": {"bits": 2, "group_size": 32},
    "3bit": {"bits": 3, "group_size": 16},
    "4bit-desc_act": {
        "bits": 4,
        "group_size": 16,
        "desc_act": True,
        "act_group_aware": False,
    },
    "4bit-v2-asym": {"bits": 4, "group_size": 16, "sym": False, "format": "gptq_v2"},
    "8bit": {"bits": 8, "group_size": 32},
}
DIGESTS = "dequantized.json"
_SAMPLES, _LENGTH = 32, 64
_FILES = ("model.safetensors", "tokenizer.json")


def quantize(folder: Path) -> None:
    """Writes the parent and a checkpoint per setting, with what GPTQModel makes of it."""
    parent = folder / "parent"
    _write_parent(parent)
    for name, settings in SETTINGS.items():
        _quantize(parent, folder / name, settings)
        dequantize(folder / name / DIGESTS, [folder / name])


def dequantize(target: Path, checkpoints: list[Path]) -> None:
    """Keeps what GPTQModel computes with, by the checkpoints' names."""
    found = {checkpoint.name: _dequantized(checkpoint) for checkpoint in checkpoints}
    target.write_text(json.dumps(found, indent=1) + "\n")


def _write_parent(folder: Path) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).half()
    for parameter in model.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
    model.save_pretrained(folder)
    write_tokenizer(folder)


def _quantize(parent: Path, folder: Path, settings: dict[str, Any]) -> None:
    model = GPTQModel.load(str(parent), QuantizeConfig(**settings), device="cpu")
    generator = torch.Generator().manual_seed(0)
    rows = (torch.randint(3, VOCAB, (_LENGTH,), generator=generator) for _ in range(_SAMPLES))
    model.quantize(
        [{"input_ids": row.tolist(), "attention_mask": [1] * _LENGTH} for row in rows],
        batch_size=1,
    )
    made = folder.with_suffix(".made")
    model.save(str(made))
    folder.mkdir(parents=True)
    for name in _FILES:
        shutil.copyfile(made / name, folder / name)
    config = json.loads((made / "config.json").read_text())
    # A folder of the machine that wrote it.
    config["quantization_config"]["meta"].pop("offload_to_disk_path", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    shutil.rmtree(made)


def _dequantized(checkpoint: Path) -> dict[str, Any]:
    # In the type of the scales: what it computes with is then exactly what the file holds.
    model = GPTQModel.load(
        str(checkpoint), backend=BACKEND.GPTQ_TORCH, device="cpu", dtype=torch.float16
    ).model
    weights = {
        name: module.dequantize_weight().T.contiguous()
        for name, module in model.named_modules()
        if hasattr(module, "dequantize_weight")
    }
    with torch.inference_mode():
        logits = model(torch.arange(3, 60).unsqueeze(0)).logits[0, -1].float()
    return {
        "weights": {
            name: hashlib.sha256(weight.numpy().tobytes()).hexdigest()
            for name, weight in weights.items()
        },
        "logits": [round(value, 4) for value in logits.tolist()],
    }


if __name__ == "__main__":
    if sys.argv[1] == "quantize":
        quantize(Path(sys.argv[2]))
    else:
        dequantize(Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
