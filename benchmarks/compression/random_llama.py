"""A random sharded bfloat16 Llama of any size, with a tokenizer of some words."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

# TinyLlama-1.1B: 1,100,048,384 parameters.
TINY_LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "vocab_size": 32000,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
}
WORDS = 1000


def write_random_llama(
    folder: Path, *, seed: int = 0, words: int = WORDS, device: str = "cpu", **changes: Any
) -> Path:
    """Writes the checkpoint shard by shard, two layers in each.

    Args:
        folder: Made here.
        seed: Of the weights.
        words: Of the tokenizer.
        device: Where weights are drawn; each kind of device draws its own.
        changes: What config.json has instead of TinyLlama's values.
    """
    folder.mkdir(parents=True)
    config = TINY_LLAMA | changes
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    layers = config["num_hidden_layers"]
    keys = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    generator = torch.Generator(device).manual_seed(seed)

    def matrix(rows: int, columns: int) -> torch.Tensor:
        drawn = torch.randn(rows, columns, generator=generator, device=device)
        return (drawn * columns**-0.5).bfloat16().cpu()

    def norm() -> torch.Tensor:
        return torch.ones(hidden, dtype=torch.bfloat16)

    shapes = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    weight_map: dict[str, str] = {}
    total = (layers + 1) // 2 + 1
    for shard in range(total):
        tensors: dict[str, torch.Tensor] = {}
        if shard == total - 1:
            vocabulary = config["vocab_size"]
            tensors["model.embed_tokens.weight"] = matrix(vocabulary, hidden)
            tensors["lm_head.weight"] = matrix(vocabulary, hidden)
            tensors["model.norm.weight"] = norm()
        for layer in range(2 * shard, min(2 * shard + 2, layers)):
            start = f"model.layers.{layer}."
            tensors |= {f"{start}{name}.weight": matrix(*shape) for name, shape in shapes.items()}
            tensors |= {
                f"{start}{name}.weight": norm()
                for name in ("input_layernorm", "post_attention_layernorm")
            }
        file = f"model-{shard + 1:05d}-of-{total:05d}.safetensors"
        save_file(tensors, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(config))
    known = {f"w{i}": i for i in range(words)} | {"[UNK]": words}
    tokenizer = Tokenizer(WordLevel(known, unk_token="[UNK]"))  # noqa: S106 - a word, no secret
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_text(file: Path, length: int = 20_000, words: int = WORDS) -> Path:
    """Writes random words of the tokenizer that has so many of them, to calibrate with."""
    generator = random.Random(0)  # noqa: S311 - reproducible text, not a secret
    file.write_text(" ".join(f"w{generator.randrange(words)}" for _ in range(length)))
    return file
