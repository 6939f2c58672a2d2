"""Runs calibration sequences through a model one layer at a time.

Only one layer's weights are in memory, next to the hidden states of all sequences. Layers are
those of transformers, in float32 on the CPU so that second moments are exact enough to invert.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from assay_compression.checkpoint.inspect import Checkpoint
from assay_compression.methods.inputs import InputStatistics
from assay_compression.worker.tensors import read_tensor
from assay_core.errors import FailedPrecondition

_BATCH_TOKENS = 4096


class Activations:
    """Hidden states of the calibration sequences before one layer.

    Args:
        checkpoint: The parent.
        sequences: Token ids `[samples, length]`, all of one length, so that no mask is needed.
        device: Where layers run.
    """

    def __init__(self, checkpoint: Checkpoint, sequences: Tensor, device: torch.device) -> None:
        module = importlib.import_module(checkpoint.architecture.module)
        names = checkpoint.architecture
        self._checkpoint = checkpoint
        self._device = device
        self._config = _read_config(getattr(module, names.config_class), checkpoint)
        self._layer_class = getattr(module, names.layer_class)
        rotary = getattr(module, names.rotary_class)(self._config).to(device)
        embedding = self._read(names.embedding)
        if int(sequences.max()) >= embedding.shape[0]:
            raise _refused(
                f"the tokenizer has ids beyond the {embedding.shape[0]} rows of the embedding",
                "check that the tokenizer belongs to the checkpoint",
            )
        batch = max(1, _BATCH_TOKENS // sequences.shape[1])
        self._hidden = [
            torch.nn.functional.embedding(ids.to(device), embedding)
            for ids in sequences.split(batch)
        ]
        positions = torch.arange(sequences.shape[1], device=device).unsqueeze(0)
        self._rotary = rotary(self._hidden[0], position_ids=positions)

    def observe(self, layer: int) -> dict[str, InputStatistics]:
        """Statistics of the inputs of every matrix of a layer, with the parent's weights."""
        block = self._load(layer, {})
        prefix = f"{self._checkpoint.architecture.layers}.{layer}."
        seen: dict[str, InputStatistics] = {}
        for group in self._checkpoint.architecture.linears:
            linear = block.get_submodule(group[0])
            statistics = InputStatistics(linear.in_features, self._device)
            linear.register_forward_pre_hook(lambda _, args, into=statistics: into.add(args[0]))
            seen |= {prefix + name: statistics for name in group}
        for hidden in self._hidden:
            self._run(block, hidden)
        return seen

    def advance(self, layer: int, weights: Mapping[str, Tensor]) -> None:
        """Moves the hidden states through a layer that has new `weights` by module name."""
        block = self._load(layer, weights)
        for i, hidden in enumerate(self._hidden):
            self._hidden[i] = self._run(block, hidden)

    def _run(self, block: Any, hidden: Tensor) -> Tensor:
        output: Tensor = block(hidden, position_embeddings=self._rotary)
        return output

    def _load(self, layer: int, replaced: Mapping[str, Tensor]) -> Any:
        prefix = f"{self._checkpoint.architecture.layers}.{layer}."
        state = {
            name.removeprefix(prefix): self._read(name)
            for name in self._checkpoint.tensors
            if name.startswith(prefix) and name.removesuffix(".weight") not in replaced
        }
        for module, weight in replaced.items():
            state[f"{module}.weight".removeprefix(prefix)] = weight.to(self._device).float()
        with torch.device("meta"):
            block = self._layer_class(self._config, layer)
        # Old checkpoints carry buffers that the class computes itself (rotary_emb.inv_freq).
        known = block.state_dict().keys()
        used = {key: value for key, value in state.items() if key in known}
        if missing := sorted(known - used.keys()):
            raise _refused(
                f"tensor {prefix}{missing[0]} is missing",
                "check that every shard is there and config.json belongs to the weights",
            )
        block.load_state_dict(used, assign=True)
        return block.eval()

    def _read(self, name: str) -> Tensor:
        tensor = read_tensor(self._checkpoint.path, self._checkpoint.tensors[name])
        return tensor.to(self._device).float()


def _read_config(config_class: Any, checkpoint: Checkpoint) -> Any:
    try:
        return config_class.from_pretrained(
            str(checkpoint.path), attn_implementation="sdpa", local_files_only=True
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _refused(
            f"transformers does not accept config.json ({type(error).__name__})",
            "restore config.json",
        ) from error


def _refused(message: str, remedy: str) -> FailedPrecondition:
    return FailedPrecondition(
        message, field="model.uri", reason="CHECKPOINT_INCONSISTENT", remedy=remedy
    )
