"""What GPTQModel does, in its own environment (.venvs/gptqmodel), for tests in ours.

    gptqmodel_tool.py parent FOLDER
    gptqmodel_tool.py quantize PARENT FOLDER JSON
    gptqmodel_tool.py dequantize CHECKPOINT FILE.safetensors

`parent` writes a tiny random Llama, `quantize` compresses one with the QuantizeConfig that JSON
says, and `dequantize` loads a checkpoint and keeps the weight `[out, in]` that GPTQModel computes
with for every module, and the logits of fixed tokens.
"""

from __future__ import annotations

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
from safetensors.torch import save_file
from tiny_llama import VOCAB, write_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

_SAMPLES, _LENGTH = 32, 64
_CHECKPOINT = ("config.json", "model.safetensors", "tokenizer.json")


def parent(folder: Path) -> None:
    """A tiny random Llama in half precision, as transformers saves it."""
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


def quantize(source: Path, folder: Path, settings: dict[str, Any]) -> None:
    """Compresses a checkpoint; keeps of the result what a checkpoint needs."""
    model = GPTQModel.load(str(source), QuantizeConfig(**settings), device="cpu")
    generator = torch.Generator().manual_seed(0)
    rows = (torch.randint(3, VOCAB, (_LENGTH,), generator=generator) for _ in range(_SAMPLES))
    model.quantize(
        [{"input_ids": row.tolist(), "attention_mask": [1] * _LENGTH} for row in rows],
        batch_size=1,
    )
    made = folder.with_suffix(".made")
    model.save(str(made))
    folder.mkdir(parents=True)
    for name in _CHECKPOINT:
        shutil.copyfile(made / name, folder / name)
    shutil.rmtree(made)


def dequantize(checkpoint: Path, target: Path) -> None:
    """What GPTQModel computes with."""
    # In the type of the scales: what it computes with is then exactly what the file holds.
    model = GPTQModel.load(
        str(checkpoint), backend=BACKEND.GPTQ_TORCH, device="cpu", dtype=torch.float16
    )
    found = {
        name: module.dequantize_weight().T.contiguous()
        for name, module in model.model.named_modules()
        if hasattr(module, "dequantize_weight")
    }
    with torch.inference_mode():
        found["logits"] = model.model(torch.arange(3, 60).unsqueeze(0)).logits.float()
    save_file(found, target)


if __name__ == "__main__":
    command, paths = sys.argv[1], [Path(name) for name in sys.argv[2:4]]
    if command == "quantize":
        quantize(*paths, json.loads(sys.argv[4]))
    else:
        {"parent": parent, "dequantize": dequantize}[command](*paths)
