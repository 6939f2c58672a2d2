"""Which architectures can be compressed, and what their layers look like. One row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """Names inside one family of checkpoints.

    Attributes:
        name: As in config.json.
        layers: Prefix of the transformer layers; `<layers>.<i>.<linear>.weight` is a matrix.
        embedding: The token embedding's weight.
        linears: Matrices of a layer that are compressed. Those in one group see the same input, so
            its statistics are gathered once.
        shapes: Rows and columns of each matrix, by the names that `sizes` gives.
        sizes: Reads the sizes out of config.json.
        module: Module of transformers that implements it.
        config_class: Configuration class in that module.
        layer_class: One transformer layer.
        rotary_class: The rotary position embedding that the layers are given.
    """

    name: str
    layers: str
    embedding: str
    linears: tuple[tuple[str, ...], ...]
    shapes: Mapping[str, tuple[str, str]]
    sizes: Callable[[Mapping[str, Any]], dict[str, int]]
    module: str
    config_class: str
    layer_class: str
    rotary_class: str

    def linear_names(self, layer: int) -> list[str]:
        """Full module names of a layer's matrices: `model.layers.0.self_attn.q_proj`."""
        return [f"{self.layers}.{layer}.{name}" for group in self.linears for name in group]


_LLAMA_LINEARS = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)

_LLAMA_SHAPES = {
    "self_attn.q_proj": ("queries", "hidden"),
    "self_attn.k_proj": ("keys", "hidden"),
    "self_attn.v_proj": ("keys", "hidden"),
    "self_attn.o_proj": ("hidden", "queries"),
    "mlp.gate_proj": ("intermediate", "hidden"),
    "mlp.up_proj": ("intermediate", "hidden"),
    "mlp.down_proj": ("hidden", "intermediate"),
}


def _llama_sizes(config: Mapping[str, Any]) -> dict[str, int]:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    head = config.get("head_dim") or hidden // heads
    return {
        "hidden": hidden,
        "intermediate": config["intermediate_size"],
        "queries": heads * head,
        "keys": (config.get("num_key_value_heads") or heads) * head,
    }


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            name="LlamaForCausalLM",
            layers="model.layers",
            embedding="model.embed_tokens.weight",
            linears=_LLAMA_LINEARS,
            shapes=_LLAMA_SHAPES,
            sizes=_llama_sizes,
            module="transformers.models.llama.modeling_llama",
            config_class="LlamaConfig",
            layer_class="LlamaDecoderLayer",
            rotary_class="LlamaRotaryEmbedding",
        ),
    )
}
