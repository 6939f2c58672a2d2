"""Which architectures can be compressed, and what their layers look like. One row each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """Names inside one family of checkpoints.

    Attributes:
        name: As in config.json.
        layers: Prefix of the transformer layers; `<layers>.<i>.<linear>.weight` is a matrix.
        embedding: The token embedding's weight.
        linears: Matrices of a layer that are compressed. Those in one group see the same input, so
            its statistics are gathered once.
        module: Module of transformers that implements it.
        config_class: Configuration class in that module.
        layer_class: One transformer layer.
        rotary_class: The rotary position embedding that the layers are given.
    """

    name: str
    layers: str
    embedding: str
    linears: tuple[tuple[str, ...], ...]
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

ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            name="LlamaForCausalLM",
            layers="model.layers",
            embedding="model.embed_tokens.weight",
            linears=_LLAMA_LINEARS,
            module="transformers.models.llama.modeling_llama",
            config_class="LlamaConfig",
            layer_class="LlamaDecoderLayer",
            rotary_class="LlamaRotaryEmbedding",
        ),
    )
}
