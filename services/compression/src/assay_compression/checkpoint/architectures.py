"""Which architectures can be compressed, and what their layers look like. One row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Sizes = Callable[[Mapping[str, Any]], dict[str, int]]


@dataclass(frozen=True)
class Architecture:
    """Names inside one family of checkpoints.

    Attributes:
        name: As in config.json.
        bases: Prefixes that its tensors may have, the usual one first: `model.`, `transformer.`.
        layers: Name of the list of transformer layers below the base.
        embedding: The token embedding's weight, below the base.
        head: The output head's weight; a checkpoint without it shares the embedding.
        linears: Matrices of a layer that are compressed. Those in one group see the same input, so
            its statistics are gathered once.
        folds: What comes before each group and can take over a division of its output channels:
            a norm, or a matrix whose rows are those channels; empty where nothing can (AWQ).
        shapes: Outputs and inputs of each matrix, by the names that `sizes` gives.
        sizes: Reads the sizes out of config.json.
        module: Module of transformers that implements it.
        config_class: Configuration class in that module.
        model_class: Class of the base model in that module.
        projections: Linear modules below the base and outside the layers, where there are any.
        transposed: Whether matrices are stored `[in, out]` (GPT-2's Conv1D).
        depth_key: Key of config.json with the number of layers.
        context_key: Key of config.json with the longest sequence.
    """

    name: str
    bases: tuple[str, ...]
    layers: str
    embedding: str
    head: str
    linears: tuple[tuple[str, ...], ...]
    folds: tuple[str, ...]
    shapes: Mapping[str, tuple[str, str]]
    sizes: Sizes
    module: str
    config_class: str
    model_class: str
    projections: tuple[str, ...] = ()
    transposed: bool = False
    depth_key: str = "num_hidden_layers"
    context_key: str = "max_position_embeddings"


def _gated_sizes(config: Mapping[str, Any]) -> dict[str, int]:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    head = config.get("head_dim") or hidden // heads
    return {
        "hidden": hidden,
        "intermediate": config["intermediate_size"],
        "queries": heads * head,
        "keys": (config.get("num_key_value_heads") or heads) * head,
    }


def _gated(family: str, package: str) -> Architecture:
    """Llama and the families that share its layer: separate projections and a gated MLP."""
    return Architecture(
        name=f"{family}ForCausalLM",
        bases=("model.",),
        layers="layers",
        embedding="embed_tokens.weight",
        head="lm_head.weight",
        linears=(
            ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            ("self_attn.o_proj",),
            ("mlp.gate_proj", "mlp.up_proj"),
            ("mlp.down_proj",),
        ),
        folds=("input_layernorm", "self_attn.v_proj", "post_attention_layernorm", "mlp.up_proj"),
        shapes={
            "self_attn.q_proj": ("queries", "hidden"),
            "self_attn.k_proj": ("keys", "hidden"),
            "self_attn.v_proj": ("keys", "hidden"),
            "self_attn.o_proj": ("hidden", "queries"),
            "mlp.gate_proj": ("intermediate", "hidden"),
            "mlp.up_proj": ("intermediate", "hidden"),
            "mlp.down_proj": ("hidden", "intermediate"),
        },
        sizes=_gated_sizes,
        module=f"transformers.models.{package}.modeling_{package}",
        config_class=f"{family}Config",
        model_class=f"{family}Model",
    )


def _gpt2_sizes(config: Mapping[str, Any]) -> dict[str, int]:
    hidden = config["n_embd"]
    return {
        "hidden": hidden,
        "intermediate": config.get("n_inner") or 4 * hidden,
        "fused": 3 * hidden,
    }


_GPT2 = Architecture(
    name="GPT2LMHeadModel",
    bases=("transformer.", ""),
    layers="h",
    embedding="wte.weight",
    head="lm_head.weight",
    linears=(("attn.c_attn",), ("attn.c_proj",), ("mlp.c_fc",), ("mlp.c_proj",)),
    folds=("ln_1", "", "ln_2", ""),
    shapes={
        "attn.c_attn": ("fused", "hidden"),
        "attn.c_proj": ("hidden", "hidden"),
        "mlp.c_fc": ("intermediate", "hidden"),
        "mlp.c_proj": ("hidden", "intermediate"),
    },
    sizes=_gpt2_sizes,
    module="transformers.models.gpt2.modeling_gpt2",
    config_class="GPT2Config",
    model_class="GPT2Model",
    transposed=True,
    depth_key="n_layer",
    context_key="n_positions",
)


def _neox_sizes(config: Mapping[str, Any]) -> dict[str, int]:
    hidden = config["hidden_size"]
    return {
        "hidden": hidden,
        "intermediate": config["intermediate_size"],
        "fused": 3 * hidden,
    }


_NEOX = Architecture(
    name="GPTNeoXForCausalLM",
    bases=("gpt_neox.",),
    layers="layers",
    embedding="embed_in.weight",
    head="embed_out.weight",
    linears=(
        ("attention.query_key_value",),
        ("attention.dense",),
        ("mlp.dense_h_to_4h",),
        ("mlp.dense_4h_to_h",),
    ),
    folds=("input_layernorm", "", "post_attention_layernorm", ""),
    shapes={
        "attention.query_key_value": ("fused", "hidden"),
        "attention.dense": ("hidden", "hidden"),
        "mlp.dense_h_to_4h": ("intermediate", "hidden"),
        "mlp.dense_4h_to_h": ("hidden", "intermediate"),
    },
    sizes=_neox_sizes,
    module="transformers.models.gpt_neox.modeling_gpt_neox",
    config_class="GPTNeoXConfig",
    model_class="GPTNeoXModel",
)


def _opt_sizes(config: Mapping[str, Any]) -> dict[str, int]:
    return {"hidden": config["hidden_size"], "intermediate": config["ffn_dim"]}


_OPT = Architecture(
    name="OPTForCausalLM",
    bases=("model.decoder.", "decoder."),
    layers="layers",
    embedding="embed_tokens.weight",
    head="lm_head.weight",
    linears=(
        ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        ("self_attn.out_proj",),
        ("fc1",),
        ("fc2",),
    ),
    folds=("self_attn_layer_norm", "self_attn.v_proj", "final_layer_norm", "fc1"),
    shapes={
        "self_attn.q_proj": ("hidden", "hidden"),
        "self_attn.k_proj": ("hidden", "hidden"),
        "self_attn.v_proj": ("hidden", "hidden"),
        "self_attn.out_proj": ("hidden", "hidden"),
        "fc1": ("intermediate", "hidden"),
        "fc2": ("hidden", "intermediate"),
    },
    sizes=_opt_sizes,
    module="transformers.models.opt.modeling_opt",
    config_class="OPTConfig",
    model_class="OPTDecoder",
    projections=("project_in", "project_out"),
)

ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        _gated("Llama", "llama"),
        _gated("Mistral", "mistral"),
        _gated("Qwen2", "qwen2"),
        _gated("Qwen3", "qwen3"),
        _GPT2,
        _NEOX,
        _OPT,
    )
}
