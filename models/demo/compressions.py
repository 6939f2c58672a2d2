"""The demo study's compressions in a few lines each, for the probe only.

The product's own are in services/compression; these say early whether a newly trained model shows
the effect.
"""

import torch
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.gptq import GPTQModifier
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

GROUP_SIZE = 128
CALIBRATION_LENGTH = 512
VARIANTS = ("dense", "gptq-8", "gptq-4", "gptq-3", "magnitude-2:4", "magnitude-50")


def linear_weights(model: LlamaForCausalLM) -> list[torch.nn.Parameter]:
    """Weights of the decoder's linear layers, not of embeddings and head."""
    return [
        module.weight for module in model.model.modules() if isinstance(module, torch.nn.Linear)
    ]


def prune_magnitude(model: LlamaForCausalLM, keep: int, of: int) -> None:
    """Zero all but the `keep` largest of every `of` consecutive weights of a row."""
    for weight in linear_weights(model):
        blocks = weight.data.view(-1, of)
        dropped = blocks.abs().topk(of - keep, dim=1, largest=False).indices
        blocks.scatter_(1, dropped, 0.0)


def prune_unstructured(model: LlamaForCausalLM, share: float) -> None:
    """Zero the given share of smallest weights of every layer."""
    for weight in linear_weights(model):
        threshold = weight.data.abs().flatten().kthvalue(int(weight.numel() * share)).values
        weight.data[weight.data.abs() <= threshold] = 0.0


def quantize_gptq(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    bits: int,
    calibration: list[str],
) -> None:
    """Symmetric GPTQ in groups of 128 by llm-compressor; the model keeps the rounded weights."""
    stream = tokenizer("".join(calibration), add_special_tokens=False)["input_ids"]
    rows = [
        stream[i : i + CALIBRATION_LENGTH]
        for i in range(0, len(stream) - CALIBRATION_LENGTH, CALIBRATION_LENGTH)
    ][:64]
    weights = {
        "num_bits": bits,
        "type": "int",
        "symmetric": True,
        "strategy": "group",
        "group_size": GROUP_SIZE,
    }
    recipe = GPTQModifier(
        ignore=["lm_head"], config_groups={"group_0": {"targets": ["Linear"], "weights": weights}}
    )
    oneshot(
        model=model,
        dataset=Dataset.from_dict(
            {"input_ids": rows, "attention_mask": [[1] * len(r) for r in rows]}
        ),
        recipe=recipe,
        max_seq_length=CALIBRATION_LENGTH,
        num_calibration_samples=len(rows),
    )


def compress(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    variant: str,
    calibration: list[str],
) -> None:
    """Apply one of VARIANTS in place."""
    if variant.startswith("gptq-"):
        quantize_gptq(model, tokenizer, int(variant.removeprefix("gptq-")), calibration)
    elif variant == "magnitude-2:4":
        prune_magnitude(model, 2, 4)
    elif variant == "magnitude-50":
        prune_unstructured(model, 0.5)
