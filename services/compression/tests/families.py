"""A tiny random checkpoint of every supported family, as transformers saves it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from tiny_llama import VOCAB, write_tokenizer

_GATED = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
}

# Class of the configuration and what it is given. Each row has something of its own: a window
# shorter than the sequence, tied embeddings, heads wider than hidden / heads, Conv1D, parallel
# residuals, learnt positions and a narrower embedding.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "LlamaForCausalLM": ("LlamaConfig", _GATED),
    "MistralForCausalLM": ("MistralConfig", _GATED | {"sliding_window": 16}),
    "Qwen2ForCausalLM": ("Qwen2Config", _GATED | {"tie_word_embeddings": True}),
    "Qwen3ForCausalLM": ("Qwen3Config", _GATED | {"head_dim": 32}),
    "GPT2LMHeadModel": (
        "GPT2Config",
        {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128},
    ),
    "GPTNeoXForCausalLM": (
        "GPTNeoXConfig",
        {
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 128,
        },
    ),
    "OPTForCausalLM": (
        "OPTConfig",
        {
            "hidden_size": 64,
            "word_embed_proj_dim": 32,
            "ffn_dim": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 128,
        },
    ),
}


def write_family(
    directory: Path, name: str, *, dtype: torch.dtype = torch.float32, shard: str = "1GB"
) -> Path:
    import transformers

    config_class, values = FAMILIES[name]
    config = getattr(transformers, config_class)(
        vocab_size=VOCAB, pad_token_id=0, bos_token_id=1, eos_token_id=2, **values
    )
    torch.manual_seed(0)
    model = getattr(transformers, name)(config).to(dtype)
    for parameter in model.parameters():
        # The usual start of 0.02 makes the layers of a tiny model almost nothing.
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
    model.save_pretrained(directory, max_shard_size=shard)
    write_tokenizer(directory)
    return directory


@functools.cache
def loaded(directory: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
