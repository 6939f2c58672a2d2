"""The library's own call on the same input, in a process of its own: what the service is held to.

Prints seconds and peak memory as JSON. Seconds are those of loading the checkpoint, compressing and
saving; imports are left out, as a warm service has paid them.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.gptq import GPTQModifier
from llmcompressor.modifiers.pruning import SparseGPTModifier, WandaPruningModifier
from llmcompressor.modifiers.quantization import QuantizationModifier
from transformers import AutoModelForCausalLM

from assay_compression.jobs.spec import CalibrationSpec
from assay_compression.methods.magnitude import magnitude
from assay_compression.methods.routine import blocks
from assay_compression.worker.sequences import draw_sequences
from assay_core.digest import sha256_file
from assay_core.recipes import Gptq, Magnitude, Recipe, Rtn, SparseGpt, Wanda

_IGNORED = ["lm_head"]


def main() -> None:
    """Runs one recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--recipe", type=json.loads, required=True)
    parser.add_argument("--samples", type=int, required=True)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    recipe = Recipe.parse(arguments.recipe)
    started = time.monotonic()
    model = AutoModelForCausalLM.from_pretrained(arguments.model)
    if isinstance(recipe.method, Magnitude):
        _prune(model, recipe.method)
    else:
        data = _sequences(arguments) if recipe.needs_calibration else None
        oneshot(
            model=model,
            dataset=data,
            recipe=_modifier(recipe),
            max_seq_length=arguments.length,
            num_calibration_samples=arguments.samples,
        )
    model.save_pretrained(arguments.output, save_compressed=False)
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak_memory_bytes": peak}))


def _sequences(arguments: argparse.Namespace) -> Dataset:
    spec = CalibrationSpec(
        digest=sha256_file(arguments.calibration),
        samples=arguments.samples,
        sequence_length=arguments.length,
        seed=arguments.seed,
    )
    ids = draw_sequences(arguments.model, arguments.calibration, spec).tolist()
    masks = [[1] * len(row) for row in ids]
    return Dataset.from_dict({"input_ids": ids, "attention_mask": masks})


def _modifier(recipe: Recipe) -> Any:
    match recipe.method:
        case Gptq() as method:
            return GPTQModifier(
                ignore=_IGNORED,
                config_groups=_groups(method.bits, method.group_size),
                dampening_frac=method.damping,
            )
        case Rtn() as method:
            return QuantizationModifier(
                ignore=_IGNORED, config_groups=_groups(method.bits, method.group_size)
            )
        case SparseGpt() as method:
            return SparseGPTModifier(
                sparsity=method.sparsity, mask_structure=_mask(method.pattern), ignore=_IGNORED
            )
        case Wanda() as method:
            return WandaPruningModifier(
                sparsity=method.sparsity, mask_structure=_mask(method.pattern), ignore=_IGNORED
            )
        case _:
            raise ValueError(f"the library has no call for {recipe.name} that runs here")


def _groups(bits: int, group_size: int) -> dict[str, Any]:
    weights = {
        "num_bits": bits,
        "type": "int",
        "symmetric": True,
        "strategy": "group",
        "group_size": group_size,
    }
    return {"group_0": {"targets": ["Linear"], "weights": weights}}


def _mask(pattern: str) -> str:
    return "0:0" if pattern == "unstructured" else pattern


def _prune(model: torch.nn.Module, method: Magnitude) -> None:
    with torch.inference_mode():
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear) and name not in _IGNORED:
                before = module.weight.float()
                after = magnitude(before, sparsity=method.sparsity, pattern=blocks(method.pattern))
                module.weight.copy_(after)


if __name__ == "__main__":
    main()
