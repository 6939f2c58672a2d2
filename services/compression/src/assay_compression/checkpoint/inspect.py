"""What a checkpoint directory holds, checked before any work starts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from assay_compression.checkpoint.architectures import ARCHITECTURES, Architecture
from assay_compression.checkpoint.safetensors_file import TensorEntry, read_header
from assay_core.errors import AssayError, DataLoss, FailedPrecondition

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
TOKENIZER = "tokenizer.json"
TOKENIZER_FILES = (
    TOKENIZER,
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)
TEMPLATE = "chat_template.jinja"
_OTHER_FILES = (CONFIG, "generation_config.json", TEMPLATE, "chat_template.json", INDEX)
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
_FIELD = "model.uri"
FLOAT_TYPES = ("F32", "F16", "BF16")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that passed the checks.

    Attributes:
        path: Its directory.
        config: config.json.
        architecture: Names of its parts.
        layers: Number of transformer layers.
        files: Every file that belongs to it, sorted: weights, configuration, tokenizer.
        tensors: Where every tensor lies.
    """

    path: Path
    config: dict[str, Any]
    architecture: Architecture
    layers: int
    files: tuple[str, ...]
    tensors: dict[str, TensorEntry]

    @cached_property
    def weight_files(self) -> tuple[str, ...]:
        """Names of the safetensors files."""
        return tuple(sorted({entry.file for entry in self.tensors.values()}))

    @cached_property
    def parameters(self) -> int:
        """Elements of all tensors."""
        return sum(entry.elements for entry in self.tensors.values())

    @cached_property
    def linears(self) -> tuple[str, ...]:
        """Modules that are compressed, layer by layer."""
        return tuple(name for i in range(self.layers) for name in self.architecture.linear_names(i))

    def matrix(self, module: str) -> TensorEntry:
        """The weight of a module."""
        return self.tensors[f"{module}.weight"]

    @property
    def context_length(self) -> int | None:
        """Longest sequence that the model was made for, where its config says so."""
        length = self.config.get("max_position_embeddings")
        return length if isinstance(length, int) else None


def inspect(path: Path) -> Checkpoint:
    """Reads configuration and headers; touches no weights.

    Raises:
        FailedPrecondition: The directory is not a checkpoint that can be compressed.
        DataLoss: A file is damaged.
    """
    config = _read_json(path, CONFIG)
    architecture = _architecture(config)
    layers = config.get("num_hidden_layers")
    if type(layers) is not int or layers < 1:
        raise _refused("config.json has no num_hidden_layers", "restore config.json", "BAD_CONFIG")
    weight_files = _weight_files(path)
    tensors: dict[str, TensorEntry] = {}
    for name in weight_files:
        for tensor, entry in read_header(path / name).items():
            if tensor in tensors:
                raise _damaged(name, f"repeats tensor {tensor}")
            tensors[tensor] = entry
    present = (*TOKENIZER_FILES, *_OTHER_FILES)
    files = {*weight_files, *(name for name in present if (path / name).is_file())}
    if layers > len(tensors):
        raise _refused(
            f"config.json says {layers} layers and the files hold {len(tensors)} tensors",
            "check that config.json belongs to the weights",
            "TENSOR_MISSING",
        )
    checkpoint = Checkpoint(path, config, architecture, layers, tuple(sorted(files)), tensors)
    _check_tensors(checkpoint)
    _check_shapes(checkpoint)
    return checkpoint


def chat_template(path: Path) -> str | None:
    """The checkpoint's own chat template."""
    if (path / TEMPLATE).is_file():
        return (path / TEMPLATE).read_text(encoding="utf-8")
    if not (path / "tokenizer_config.json").is_file():
        return None
    template = _read_json(path, "tokenizer_config.json").get("chat_template")
    return template if isinstance(template, str) else None


def _architecture(config: dict[str, Any]) -> Architecture:
    if "quantization_config" in config:
        raise _refused(
            "the checkpoint is compressed already (config.json has quantization_config)",
            "name the dense checkpoint it was made from",
            "ALREADY_COMPRESSED",
        )
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    if not isinstance(name, str):
        raise _refused("config.json names no architecture", "restore `architectures`", "BAD_CONFIG")
    if name not in ARCHITECTURES:
        raise _refused(
            f"the architecture {name[:80]} cannot be compressed here",
            f"use one of {', '.join(ARCHITECTURES)}",
            "UNSUPPORTED_ARCHITECTURE",
        )
    return ARCHITECTURES[name]


def _weight_files(path: Path) -> list[str]:
    if (path / INDEX).is_file():
        weight_map = _read_json(path, INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise _damaged(INDEX, "has no weight_map")
        names = sorted({str(name) for name in weight_map.values()})
        for name in names:
            if Path(name).name != name or not name.endswith(".safetensors"):
                raise _refused(
                    f"{INDEX} points outside the checkpoint's safetensors files",
                    "save the checkpoint again with safetensors",
                    "BAD_INDEX",
                )
            if not (path / name).is_file():
                raise _damaged(name, f"is missing, although {INDEX} names it")
        return names
    if (path / SINGLE).is_file():
        return [SINGLE]
    pickles = sorted(file.name for file in path.iterdir() if file.suffix in _PICKLES)
    found = f"pickle weights only ({', '.join(pickles[:3])})" if pickles else "no weights"
    raise _refused(
        f"the checkpoint has {found}, and only safetensors are read",
        "convert it with save_pretrained(..., safe_serialization=True)",
        "NO_SAFETENSORS",
    )


def _check_tensors(checkpoint: Checkpoint) -> None:
    for name in (checkpoint.architecture.embedding, *(f"{m}.weight" for m in checkpoint.linears)):
        entry = checkpoint.tensors.get(name)
        if entry is None:
            raise _refused(
                f"tensor {name} is missing",
                "check that every shard is there and config.json belongs to the weights",
                "TENSOR_MISSING",
            )
        if entry.dtype not in FLOAT_TYPES or len(entry.shape) != 2:
            raise _refused(
                f"tensor {name} is {entry.dtype} {list(entry.shape)}",
                "a dense checkpoint has float32, float16 or bfloat16 matrices there",
                "UNSUPPORTED_TENSOR",
            )


def _check_shapes(checkpoint: Checkpoint) -> None:
    names = checkpoint.architecture
    try:
        sizes = names.sizes(checkpoint.config)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise _refused(
            "config.json lacks a size of the model, or holds one that is not a number",
            "restore config.json",
            "BAD_CONFIG",
        ) from error
    expected = {
        f"{names.layers}.{i}.{linear}.weight": (sizes[rows], sizes[columns])
        for i in range(checkpoint.layers)
        for linear, (rows, columns) in names.shapes.items()
    }
    for name, shape in expected.items():
        found = checkpoint.tensors[name].shape
        if found != shape:
            raise _refused(
                f"tensor {name} is {list(found)} and config.json says {list(shape)}",
                "check that config.json belongs to the weights",
                "SHAPE_MISMATCH",
            )


def _read_json(path: Path, name: str) -> dict[str, Any]:
    file = path / name
    if not file.is_file():
        raise _refused(
            f"{name} is missing", "name a directory in Hugging Face layout", "NOT_A_CHECKPOINT"
        )
    try:
        value = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _damaged(name, "is not readable JSON") from error
    if not isinstance(value, dict):
        raise _damaged(name, "is not a JSON object")
    return value


def _refused(message: str, remedy: str, reason: str) -> AssayError:
    return FailedPrecondition(message, field=_FIELD, remedy=remedy, reason=reason)


def _damaged(name: str, problem: str) -> AssayError:
    return DataLoss(
        f"file {name} {problem}",
        field=_FIELD,
        reason="CHECKPOINT_DAMAGED",
        remedy="download or save the checkpoint again",
        metadata={"file": name},
    )
