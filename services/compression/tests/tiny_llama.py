"""Tiny random Llama checkpoints, written without transformers so that tests start fast."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

HIDDEN, INTERMEDIATE, LAYERS, HEADS, KV_HEADS, VOCAB = 64, 128, 3, 4, 2, 97

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": INTERMEDIATE,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "vocab_size": VOCAB,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "dtype": "float32",
}


def tensors(dtype: torch.dtype = torch.float32, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def matrix(rows: int, columns: int) -> torch.Tensor:
        return (torch.randn(rows, columns, generator=generator) * columns**-0.5).to(dtype)

    head = HIDDEN // HEADS
    found = {
        "model.embed_tokens.weight": matrix(VOCAB, HIDDEN),
        "model.norm.weight": torch.ones(HIDDEN, dtype=dtype),
        "lm_head.weight": matrix(VOCAB, HIDDEN),
    }
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        found |= {
            f"{p}self_attn.q_proj.weight": matrix(HEADS * head, HIDDEN),
            f"{p}self_attn.k_proj.weight": matrix(KV_HEADS * head, HIDDEN),
            f"{p}self_attn.v_proj.weight": matrix(KV_HEADS * head, HIDDEN),
            f"{p}self_attn.o_proj.weight": matrix(HIDDEN, HEADS * head),
            f"{p}mlp.gate_proj.weight": matrix(INTERMEDIATE, HIDDEN),
            f"{p}mlp.up_proj.weight": matrix(INTERMEDIATE, HIDDEN),
            f"{p}mlp.down_proj.weight": matrix(HIDDEN, INTERMEDIATE),
            f"{p}input_layernorm.weight": torch.ones(HIDDEN, dtype=dtype),
            f"{p}post_attention_layernorm.weight": torch.ones(HIDDEN, dtype=dtype),
        }
    return found


def write_checkpoint(
    directory: Path, *, dtype: torch.dtype = torch.float32, seed: int = 0, shards: int = 1
) -> Path:
    directory.mkdir(parents=True)
    weights = tensors(dtype, seed)
    names = sorted(weights)
    if shards == 1:
        save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    else:
        weight_map = {}
        for i in range(shards):
            part = {name: weights[name] for name in names[i::shards]}
            file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
            save_file(part, directory / file, metadata={"format": "pt"})
            weight_map |= dict.fromkeys(part, file)
        index = {"metadata": {}, "weight_map": weight_map}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    config = CONFIG | {"dtype": str(dtype).removeprefix("torch.")}
    (directory / "config.json").write_text(json.dumps(config))
    write_tokenizer(directory)
    return directory


def write_tokenizer(directory: Path) -> None:
    words = {f"w{i}": i for i in range(VOCAB - 1)} | {"[UNK]": VOCAB - 1}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(directory / "tokenizer.json"))


def write_calibration(path: Path, *, rows: int = 40, words: int = 50) -> Path:
    lines = (
        json.dumps({"text": " ".join(f"w{(7 * i + j * j) % (VOCAB - 1)}" for j in range(words))})
        for i in range(rows)
    )
    path.write_text("\n".join(lines) + "\n")
    return path
