"""Runs calibration sequences through a model one layer at a time.

Only one layer's weights are in memory, next to the hidden states of all sequences. Layers are
those of transformers, in float32 so that second moments are exact enough to invert; on CUDA
products of a 16-bit checkpoint's layers, and those moments, may use TF32 (`devices.tensor_cores`).
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from assay_compression.checkpoint.errors import refused
from assay_compression.checkpoint.inspect import Checkpoint
from assay_compression.methods.inputs import InputStatistics
from assay_compression.worker.devices import tensor_cores
from assay_compression.worker.tensors import DTYPES, read_tensor

_BATCH_TOKENS = 4096
_INCONSISTENT = "CHECKPOINT_INCONSISTENT"


class Activations:
    """Hidden states of the calibration sequences before one layer.

    The embeddings, positions and masks of a family are whatever its model in transformers computes:
    the model runs once with stand-ins for its layers, which note what each layer is called with.

    Args:
        checkpoint: The parent.
        sequences: Token ids `[samples, length]`, all of one length, so that none is padded.
        device: Where layers run.
        embedding: The token embedding to begin with, where it is not the parent's.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        sequences: Tensor,
        device: torch.device,
        embedding: Tensor | None = None,
    ) -> None:
        self._checkpoint = checkpoint
        self._device = device
        self._embedding = embedding
        self._is_16_bit = DTYPES[checkpoint.matrix(checkpoint.linears[0]).dtype].itemsize == 2
        if int(sequences.max()) >= checkpoint.embedding.shape[0]:
            raise refused(
                f"the tokenizer has ids beyond the {checkpoint.embedding.shape[0]} rows of the "
                "embedding",
                "check that the tokenizer belongs to the checkpoint",
                _INCONSISTENT,
            )
        model, self._layers = self._empty_model()
        stand_ins = self._without_layers(model)
        self._batches = sequences.split(max(1, _BATCH_TOKENS // sequences.shape[1]))
        self._hidden: list[Tensor] = []
        # All sequences are of one length, so a call depends on the size of the batch alone.
        self._calls: dict[int, list[_Call]] = {}
        for ids in self._batches:
            model(ids.to(device), use_cache=False)
            self._hidden.append(stand_ins[0].hidden)
            self._calls[len(ids)] = [stand_in.call for stand_in in stand_ins]

    def observe(self, layer: int) -> dict[str, InputStatistics]:
        """Statistics of the inputs of every matrix of a layer, with the parent's weights."""
        block = self._load(layer, {})
        prefix = self._checkpoint.layer_prefix(layer)
        seen: dict[str, InputStatistics] = {}
        for group in self._checkpoint.groups(layer):
            statistics = InputStatistics(self._checkpoint.shape(group[0])[1], self._device)
            linear = block.get_submodule(group[0].removeprefix(prefix))
            linear.register_forward_pre_hook(lambda _, args, into=statistics: into.add(args[0]))
            seen |= dict.fromkeys(group, statistics)
        for hidden in self._hidden:
            self._run(block, layer, hidden)
        return seen

    def observe_head(self) -> InputStatistics:
        """Statistics of the output head's inputs, once the hidden states are past every layer."""
        model, _ = self._empty_model()
        last = self._without_layers(model)[-1]
        seen = InputStatistics(
            self._checkpoint.shape(self._checkpoint.head_module)[1], self._device
        )
        with tensor_cores(allowed=self._is_16_bit):
            for ids, hidden in zip(self._batches, self._hidden, strict=True):
                last.instead = hidden
                seen.add(model(ids.to(self._device), use_cache=False).last_hidden_state)
        return seen

    def advance(self, layer: int, weights: Mapping[str, Tensor]) -> None:
        """Moves the hidden states through a layer that has new `weights` by module name."""
        block = self._load(layer, weights)
        for i, hidden in enumerate(self._hidden):
            self._hidden[i] = self._run(block, layer, hidden)

    def _run(self, block: torch.nn.Module, layer: int, hidden: Tensor) -> Tensor:
        call = self._calls[len(hidden)][layer]
        # What is summed up about inputs meanwhile (`observe`) is computed likewise.
        with tensor_cores(allowed=self._is_16_bit):
            output = block(hidden, *call.args, **call.kwargs)
        states: Tensor = output[0] if isinstance(output, tuple) else output
        return states

    def _empty_model(self) -> tuple[torch.nn.Module, torch.nn.ModuleList]:
        """The family's model without weights, and its layers."""
        names = self._checkpoint.architecture
        module = importlib.import_module(names.module)
        config = _read_config(getattr(module, names.config_class), self._checkpoint)
        with torch.device("meta"):
            model: torch.nn.Module = getattr(module, names.model_class)(config).eval()
        layers: torch.nn.ModuleList = getattr(model, names.layers)
        for name, child in list(model.named_children()):
            # Frequencies of rotary embeddings are computed, not stored.
            if any(True for _ in child.buffers()) and not any(True for _ in child.parameters()):
                setattr(model, name, type(child)(config).to(self._device))
        return model, layers

    def _without_layers(self, model: torch.nn.Module) -> list[_StandIn]:
        """Puts stand-ins where layers were, and weights into everything else."""
        stand_ins = [_StandIn() for _ in range(self._checkpoint.layers)]
        modules = torch.nn.ModuleList(stand_in.module() for stand_in in stand_ins)
        setattr(model, self._checkpoint.architecture.layers, modules)
        base = self._checkpoint.base
        names = [name for name in model.state_dict() if base + name in self._checkpoint.tensors]
        state = {name: self._read(base + name) for name in names}
        if self._embedding is not None:
            state[self._checkpoint.architecture.embedding] = self._embedding.to(
                self._device
            ).float()
        self._assign(model, base, state)
        return stand_ins

    def _load(self, layer: int, replaced: Mapping[str, Tensor]) -> torch.nn.Module:
        prefix = self._checkpoint.layer_prefix(layer)
        block = copy.deepcopy(self._layers[layer])
        known = block.state_dict().keys()
        # Old checkpoints carry buffers that the class computes itself (rotary_emb.inv_freq).
        state = {
            name.removeprefix(prefix): self._read(name)
            for name in self._checkpoint.tensors
            if name.startswith(prefix)
            and name.removesuffix(".weight") not in replaced
            and name.removeprefix(prefix) in known
        }
        for module, weight in replaced.items():
            stored = weight.T if self._checkpoint.is_transposed(module) else weight
            state[f"{module}.weight".removeprefix(prefix)] = stored.to(self._device).float()
        self._assign(block, prefix, state)
        return block

    def _assign(self, module: torch.nn.Module, prefix: str, state: dict[str, Tensor]) -> None:
        if missing := sorted(module.state_dict().keys() - state.keys()):
            raise refused(
                f"tensor {prefix}{missing[0]} is missing",
                "check that every shard is there and config.json belongs to the weights",
                _INCONSISTENT,
            )
        module.load_state_dict(state, assign=True)

    def _read(self, name: str) -> Tensor:
        tensor = read_tensor(self._checkpoint.path, self._checkpoint.tensors[name])
        return tensor.to(self._device).float()


@dataclass(frozen=True)
class _Call:
    """What a layer is called with beside the hidden states: positions, masks."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class _StandIn:
    """Takes a layer's place: notes its call and passes the hidden states on, or others instead."""

    hidden: Tensor
    call: _Call
    instead: Tensor | None = None

    def module(self) -> torch.nn.Module:
        """What the model calls."""
        module = torch.nn.Identity()
        module.register_forward_pre_hook(self._note, with_kwargs=True)
        # A hook that returns None changes nothing.
        module.register_forward_hook(lambda *_: self.instead)
        return module

    def _note(
        self, _: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        self.hidden, self.call = args[0], _Call(args[1:], kwargs)
        return args[:1], {}


def _read_config(config_class: Any, checkpoint: Checkpoint) -> Any:
    try:
        return config_class.from_pretrained(
            str(checkpoint.path), attn_implementation="sdpa", local_files_only=True
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise refused(
            f"transformers does not accept config.json ({type(error).__name__})",
            "restore config.json",
            _INCONSISTENT,
        ) from error
