"""Checkpoints that were compressed elsewhere: what each says of itself, and whose child it is.

Read from config.json: the GPTQ format (AutoGPTQ, GPTQModel), AutoAWQ's, compressed-tensors, or
plain matrices. Whether a checkpoint is a child of the parent it is registered with shows in its
headers: the same architecture, every matrix in one form or another, everything else of one shape.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay_compression.checkpoint.errors import refused
from assay_compression.checkpoint.folder import Folder, read_folder
from assay_compression.checkpoint.inspect import Checkpoint
from assay_core.recipes.wire import Layout

# Where AutoGPTQ kept its parameters before config.json had a place for them.
_OLD_GPTQ = "quantize_config.json"
_WORD = 32
PACK_QUANTIZED = "pack-quantized"


@dataclass(frozen=True)
class Origin:
    """How a checkpoint says it was compressed.

    Attributes:
        method: `gptq`, `awq`, `compressed-tensors`, or `dense` where nothing is said.
        layout: The layout it is in.
        bits: Bits per weight; 0 for dense.
        group_size: Input columns that share one scale; 0 for one scale per row.
        act_order: Whether columns were quantized by decreasing activation.
        symmetric: Whether the grid has no zero point.
        variation: Format within the method: `gptq_v2`, `gemm`, `pack-quantized`.
    """

    method: str
    layout: Layout
    bits: int = 0
    group_size: int = 0
    act_order: bool = False
    symmetric: bool = True
    variation: str = ""


@dataclass(frozen=True)
class Import:
    """A foreign checkpoint that is a child of its parent.

    Attributes:
        folder: Its files.
        origin: How it says it was compressed.
    """

    folder: Folder
    origin: Origin


def inspect_import(path: Path, parent: Checkpoint) -> Import:
    """Reads a foreign checkpoint's configuration and headers against its parent's.

    Raises:
        FailedPrecondition: Its format is not known, or it is no child of the parent: names the
            tensor that shows it.
        DataLoss: A file is damaged.
    """
    folder = read_folder(path)
    try:
        origin = _origin(folder)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise refused(
            "quantization_config in config.json lacks a field, or holds one of the wrong type",
            "restore config.json",
            "BAD_CONFIG",
        ) from error
    _check_child(folder, origin, parent)
    return Import(folder, origin)


def _origin(folder: Folder) -> Origin:
    config = folder.config.get("quantization_config")
    if config is None and (folder.path / _OLD_GPTQ).is_file():
        config = json.loads((folder.path / _OLD_GPTQ).read_bytes()) | {"quant_method": "gptq"}
    if config is None:
        return Origin("dense", "dense")
    match config.get("quant_method"):
        case "gptq":
            return Origin(
                "gptq",
                "packed-gptq",
                bits=int(config["bits"]),
                group_size=max(0, int(config["group_size"])),
                act_order=bool(config.get("desc_act") or config.get("static_groups")),
                symmetric=bool(config.get("sym", True)),
                variation=str(config.get("checkpoint_format") or "gptq"),
            )
        case "awq":
            return Origin(
                "awq",
                "packed",
                bits=int(config.get("bits") or config["w_bit"]),
                group_size=max(0, int(config.get("group_size") or config["q_group_size"])),
                symmetric=not config.get("zero_point", True),
                variation=str(config.get("version") or "gemm").lower(),
            )
        case "compressed-tensors":
            return _compressed_tensors(config)
        case other:
            raise refused(
                f"config.json names the quantization method {str(other)[:40]!r}",
                "use a checkpoint in the gptq, awq or compressed-tensors format, or a dense one",
                "UNKNOWN_FORMAT",
            )


def _compressed_tensors(config: Mapping[str, Any]) -> Origin:
    weights = [group["weights"] for group in config["config_groups"].values()]
    if len(weights) != 1:
        raise refused(
            f"config.json has {len(weights)} groups of modules, each with a grid of its own",
            "use a checkpoint with one config group",
            "UNKNOWN_FORMAT",
        )
    return Origin(
        "compressed-tensors",
        "packed",
        bits=int(weights[0]["num_bits"]),
        group_size=max(0, int(weights[0].get("group_size") or 0)),
        act_order=weights[0].get("actorder") is not None,
        symmetric=bool(weights[0].get("symmetric", True)),
        variation=str(config.get("format")),
    )


def _check_child(folder: Folder, origin: Origin, parent: Checkpoint) -> None:
    if folder.architecture != parent.architecture.name:
        raise refused(
            f"the checkpoint is a {folder.architecture[:80]} and its parent a "
            f"{parent.architecture.name}",
            "name the dense checkpoint that it was made from",
            "NOT_A_CHILD",
        )
    linears = {f"{module}.weight": module for module in parent.linears}
    for name, entry in parent.tensors.items():
        stored, expected = name, entry.shape
        module = linears.get(name)
        if module is not None and name not in folder.tensors:
            suffix, expected = _packed_shape(origin, parent.shape(module))
            stored = f"{module}.{suffix}"
        if stored not in folder.tensors:
            if name == parent.architecture.head and parent.is_tied:
                continue
            raise refused(
                f"tensor {stored} is missing, which the parent has in one form or another",
                "name the dense checkpoint that it was made from",
                "NOT_A_CHILD",
            )
        found = folder.tensors[stored].shape
        if found != expected:
            raise refused(
                f"tensor {stored} is {list(found)} and its parent's makes it {list(expected)}",
                "name the dense checkpoint that it was made from",
                "NOT_A_CHILD",
            )


def _packed_shape(origin: Origin, shape: tuple[int, int]) -> tuple[str, tuple[int, int]]:
    """Name and shape of a matrix's main tensor in a packed format."""
    outputs, inputs = shape
    match origin.method:
        case "gptq":
            return "qweight", (inputs * origin.bits // _WORD, outputs)
        case "awq":
            return "qweight", (inputs, outputs * origin.bits // _WORD)
        case "compressed-tensors" if origin.variation == PACK_QUANTIZED:
            return "weight_packed", (outputs, math.ceil(inputs * origin.bits / _WORD))
        case _:
            return "weight", shape
