"""A directory in Hugging Face layout: its files, configuration and headers, before any meaning."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay_compression.checkpoint.errors import damaged, refused
from assay_compression.checkpoint.safetensors_file import TensorEntry, read_header

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


@dataclass(frozen=True)
class Folder:
    """What a directory in Hugging Face layout holds, before it is known what it means.

    Attributes:
        path: The directory.
        config: config.json.
        weight_files: Names of the safetensors files.
        tensors: Where every tensor lies.
    """

    path: Path
    config: dict[str, Any]
    weight_files: tuple[str, ...]
    tensors: dict[str, TensorEntry]

    @property
    def architecture(self) -> str:
        """As in config.json.

        Raises:
            FailedPrecondition: If it names none.
        """
        names = self.config.get("architectures")
        name = names[0] if isinstance(names, list) and names else None
        if not isinstance(name, str):
            raise refused(
                "config.json names no architecture", "restore `architectures`", "BAD_CONFIG"
            )
        return name

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that belongs to the checkpoint, sorted: weights, configuration, tokenizer."""
        known = (*TOKENIZER_FILES, *_OTHER_FILES)
        present = (name for name in known if (self.path / name).is_file())
        return tuple(sorted({*self.weight_files, *present}))


def read_folder(path: Path) -> Folder:
    """Reads configuration and headers; touches no weights.

    Raises:
        FailedPrecondition: The directory is no checkpoint in safetensors.
        DataLoss: A file is damaged.
    """
    config = _read_json(path, CONFIG)
    weight_files = _weight_files(path)
    return Folder(path, config, tuple(weight_files), _tensors(path, weight_files))


def chat_template(path: Path) -> str | None:
    """The checkpoint's own chat template."""
    if (path / TEMPLATE).is_file():
        return (path / TEMPLATE).read_text(encoding="utf-8")
    if not (path / "tokenizer_config.json").is_file():
        return None
    template = _read_json(path, "tokenizer_config.json").get("chat_template")
    return template if isinstance(template, str) else None


def _weight_files(path: Path) -> list[str]:
    if (path / INDEX).is_file():
        weight_map = _read_json(path, INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise damaged(INDEX, "has no weight_map")
        names = sorted({str(name) for name in weight_map.values()})
        for name in names:
            if Path(name).name != name or not name.endswith(".safetensors"):
                raise refused(
                    f"{INDEX} points outside the checkpoint's safetensors files",
                    "save the checkpoint again with safetensors",
                    "BAD_INDEX",
                )
            if not (path / name).is_file():
                raise damaged(name, f"is missing, although {INDEX} names it")
        return names
    if (path / SINGLE).is_file():
        return [SINGLE]
    pickles = sorted(file.name for file in path.iterdir() if file.suffix in _PICKLES)
    found = f"pickle weights only ({', '.join(pickles[:3])})" if pickles else "no weights"
    raise refused(
        f"the checkpoint has {found}, and only safetensors are read",
        "convert it with save_pretrained(..., safe_serialization=True)",
        "NO_SAFETENSORS",
    )


def _tensors(path: Path, weight_files: list[str]) -> dict[str, TensorEntry]:
    tensors: dict[str, TensorEntry] = {}
    for name in weight_files:
        for tensor, entry in read_header(path / name).items():
            if tensor in tensors:
                raise damaged(name, f"repeats tensor {tensor}")
            tensors[tensor] = entry
    return tensors


def _read_json(path: Path, name: str) -> dict[str, Any]:
    file = path / name
    if not file.is_file():
        raise refused(
            f"{name} is missing", "name a directory in Hugging Face layout", "NOT_A_CHECKPOINT"
        )
    try:
        value = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise damaged(name, "is not readable JSON") from error
    if not isinstance(value, dict):
        raise damaged(name, "is not a JSON object")
    return value
