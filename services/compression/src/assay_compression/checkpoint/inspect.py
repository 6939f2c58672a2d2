"""What a checkpoint directory holds, checked before any work starts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from assay_compression.checkpoint.architectures import ARCHITECTURES, Architecture
from assay_compression.checkpoint.errors import refused
from assay_compression.checkpoint.folder import read_folder
from assay_compression.checkpoint.safetensors_file import TensorEntry
from assay_core.errors import AssayError

FLOAT_TYPES = ("F32", "F16", "BF16")
# Not parameters: masks and frequencies that old versions of transformers saved.
_BUFFERS = ("attn.bias", "attn.masked_bias", "attention.bias", "attention.masked_bias", "inv_freq")
_NUMBER = re.compile(r"\.\d+\.")
_NAMED = 8


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that passed the checks.

    Attributes:
        path: Its directory.
        config: config.json.
        architecture: Names of its parts.
        base: Prefix of the base model's tensors.
        layers: Number of transformer layers.
        files: Every file that belongs to it, sorted: weights, configuration, tokenizer.
        tensors: Where every tensor lies.
    """

    path: Path
    config: dict[str, Any]
    architecture: Architecture
    base: str
    layers: int
    files: tuple[str, ...]
    tensors: dict[str, TensorEntry]

    @cached_property
    def weight_files(self) -> tuple[str, ...]:
        """Names of the safetensors files."""
        return tuple(sorted({entry.file for entry in self.tensors.values()}))

    @cached_property
    def parameters(self) -> int:
        """Elements of all parameters; masks that old checkpoints store are none."""
        buffers = tuple(f".{name}" for name in _BUFFERS)
        return sum(e.elements for n, e in self.tensors.items() if not n.endswith(buffers))

    @cached_property
    def linears(self) -> tuple[str, ...]:
        """Modules that are compressed, layer by layer."""
        return tuple(name for i in range(self.layers) for name in self.linear_names(i))

    @property
    def embedding(self) -> TensorEntry:
        """The token embedding."""
        return self.matrix(self.embedding_module)

    @property
    def embedding_module(self) -> str:
        """Full name of the token embedding: `model.embed_tokens`."""
        return (self.base + self.architecture.embedding).removesuffix(".weight")

    @property
    def head_module(self) -> str:
        """Module that the output head's weight lies in: the embedding's, where they are tied."""
        stored = self.architecture.head.removesuffix(".weight")
        return self.embedding_module if self.is_tied else stored

    @cached_property
    def outside(self) -> tuple[str, ...]:
        """Embedding and output head, once where they are tied."""
        return tuple(dict.fromkeys((self.embedding_module, self.head_module)))

    def compressed(self, *, include_embeddings: bool) -> tuple[str, ...]:
        """Modules that a recipe compresses."""
        return self.linears + (self.outside if include_embeddings else ())

    @property
    def is_tied(self) -> bool:
        """Whether the output head shares the token embedding."""
        stored = self.architecture.head in self.tensors
        return not stored or self.config.get("tie_word_embeddings") is True

    @property
    def context_length(self) -> int | None:
        """Longest sequence that the model was made for, where its config says so."""
        length = self.config.get(self.architecture.context_key)
        return length if isinstance(length, int) else None

    @property
    def other_linears(self) -> tuple[str, ...]:
        """Linear modules outside the layers, which no recipe compresses: the output head."""
        others = (self.base + name for name in self.architecture.projections)
        stored = (name for name in others if f"{name}.weight" in self.tensors)
        return (self.architecture.head.removesuffix(".weight"), *stored)

    def layer_prefix(self, layer: int) -> str:
        """What the names of a layer's tensors begin with: `model.layers.0.`."""
        return f"{self.base}{self.architecture.layers}.{layer}."

    def groups(self, layer: int) -> list[tuple[str, ...]]:
        """Full module names of a layer's matrices, those with one input together."""
        prefix = self.layer_prefix(layer)
        return [tuple(prefix + name for name in group) for group in self.architecture.linears]

    def fold(self, layer: int, group: int) -> str:
        """Module that can take over a division of a group's input channels; empty if none can."""
        name = self.architecture.folds[group]
        module = self.layer_prefix(layer) + name
        if name in self.architecture.shapes:
            # A matrix before the group can when its outputs are the group's inputs one by one, and
            # nothing but ReLU or a sum with positive weights (attention) stands between them.
            columns = self.shape(self.groups(layer)[group][0])[1]
            linear = self.config.get("activation_function", "relu") == "relu"
            return module if self.shape(module)[0] == columns and linear else ""
        # Old OPT models have their norms after the matrices, not before them.
        before = self.config.get("do_layer_norm_before", True)
        return module if before and f"{module}.weight" in self.tensors else ""

    def linear_names(self, layer: int) -> list[str]:
        """Full module names of a layer's matrices: `model.layers.0.self_attn.q_proj`."""
        return [name for group in self.groups(layer) for name in group]

    def matrix(self, module: str) -> TensorEntry:
        """The weight of a module, as it is stored."""
        return self.tensors[f"{module}.weight"]

    def shape(self, module: str) -> tuple[int, int]:
        """Outputs and inputs of a module, however its weight is stored."""
        rows, columns = self.matrix(module).shape
        return (columns, rows) if self.is_transposed(module) else (rows, columns)

    def is_transposed(self, module: str) -> bool:
        """Whether a module's weight is stored `[in, out]`; embedding and head never are."""
        return self.architecture.transposed and module not in self.outside


def inspect(path: Path) -> Checkpoint:
    """Reads a dense checkpoint's configuration and headers; touches no weights.

    Raises:
        FailedPrecondition: The directory is not a checkpoint that can be compressed.
        DataLoss: A file is damaged.
    """
    folder = read_folder(path)
    if "quantization_config" in folder.config:
        raise refused(
            "the checkpoint is compressed already (config.json has quantization_config)",
            "name the dense checkpoint it was made from, or register it with RegisterVariant",
            "ALREADY_COMPRESSED",
        )
    config, tensors = folder.config, folder.tensors
    name = folder.architecture
    if name not in ARCHITECTURES:
        raise _unsupported(f"the architecture {name[:80]} cannot be compressed here", tensors)
    architecture = ARCHITECTURES[name]
    layers = config.get(architecture.depth_key)
    if type(layers) is not int or layers < 1:
        raise refused(
            f"config.json has no {architecture.depth_key}", "restore config.json", "BAD_CONFIG"
        )
    if layers > len(tensors):
        raise refused(
            f"config.json says {layers} layers and the files hold {len(tensors)} tensors",
            "check that config.json belongs to the weights",
            "TENSOR_MISSING",
        )
    found = [base for base in architecture.bases if base + architecture.embedding in tensors]
    base = found[0] if found else architecture.bases[0]
    checkpoint = Checkpoint(path, config, architecture, base, layers, folder.files, tensors)
    _check_tensors(checkpoint)
    _check_strays(checkpoint)
    _check_shapes(checkpoint)
    return checkpoint


def _unsupported(problem: str, tensors: dict[str, TensorEntry]) -> AssayError:
    """Names the modules whose place in a layer this build does not know."""
    modules = sorted({_NUMBER.sub(".*.", name) for name in tensors if _is_matrix(name, tensors)})
    named = ", ".join(name.removesuffix(".weight") for name in modules[:_NAMED])
    more = f" and {len(modules) - _NAMED} more" if len(modules) > _NAMED else ""
    return refused(
        f"{problem}: it is not known what feeds its modules {named or '(no matrix)'}{more}",
        f"use one of {', '.join(ARCHITECTURES)}",
        "UNSUPPORTED_ARCHITECTURE",
    )


def _is_matrix(name: str, tensors: dict[str, TensorEntry]) -> bool:
    return name.endswith(".weight") and len(tensors[name].shape) > 1


def _check_tensors(checkpoint: Checkpoint) -> None:
    matrices = [f"{module}.weight" for module in checkpoint.linears]
    outside = (f"{module}.weight" for module in checkpoint.outside)
    for name in (*outside, *matrices):
        entry = checkpoint.tensors.get(name)
        if entry is None:
            raise refused(
                f"tensor {name} is missing",
                "check that every shard is there and config.json belongs to the weights",
                "TENSOR_MISSING",
            )
        if entry.dtype not in FLOAT_TYPES or len(entry.shape) != 2:
            raise refused(
                f"tensor {name} is {entry.dtype} {list(entry.shape)}",
                "a dense checkpoint has float32, float16 or bfloat16 matrices there",
                "UNSUPPORTED_TENSOR",
            )


def _check_strays(checkpoint: Checkpoint) -> None:
    """Refuses matrices in layers that this family does not have, such as experts or adapters."""
    known = {f"{module}.weight" for module in checkpoint.linears}
    inside = f"{checkpoint.base}{checkpoint.architecture.layers}."
    strays = {
        name: entry
        for name, entry in checkpoint.tensors.items()
        if name.startswith(inside) and name not in known and _is_matrix(name, checkpoint.tensors)
    }
    if strays:
        raise _unsupported(
            f"the layers hold matrices that {checkpoint.architecture.name} does not have", strays
        )


def _check_shapes(checkpoint: Checkpoint) -> None:
    names = checkpoint.architecture
    try:
        sizes = names.sizes(checkpoint.config)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise refused(
            "config.json lacks a size of the model, or holds one that is not a number",
            "restore config.json",
            "BAD_CONFIG",
        ) from error
    for layer in range(checkpoint.layers):
        for linear, (rows, columns) in names.shapes.items():
            module = checkpoint.layer_prefix(layer) + linear
            found, expected = checkpoint.shape(module), (sizes[rows], sizes[columns])
            if found != expected:
                raise refused(
                    f"module {module} is {list(found)} and config.json says {list(expected)}",
                    "check that config.json belongs to the weights",
                    "SHAPE_MISMATCH",
                )
