"""From a compressed working copy to a packed checkpoint: integers in place of matrices."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from assay_compression.checkpoint.folder import CONFIG, INDEX
from assay_compression.checkpoint.inspect import Checkpoint
from assay_compression.formats import compressed_tensors_format, gptq_format
from assay_compression.methods.grid import GridSpec, Quantized
from assay_compression.worker.copying import FILES
from assay_compression.worker.tensors import DTYPES, read_tensor
from assay_compression.worker.working_copy import WorkingCopy
from assay_core.recipes import Awq, Gptq, Recipe, Rtn

_PACKED = "packed"


def pack_checkpoint(recipe: Recipe, checkpoint: Checkpoint, work_dir: Path) -> Path:
    """Writes the packed checkpoint beside the working copy, file by file of the parent.

    One file's tensors are in memory at a time. A packing that was cut short is begun again.

    Args:
        recipe: The recipe; its layout is a packed one.
        checkpoint: The parent.
        work_dir: Holds the working copy and the integers of every layer.

    Returns:
        The directory of the packed checkpoint.
    """
    files, target = work_dir / FILES, work_dir / _PACKED
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in files.iterdir():
        if file.name not in checkpoint.weight_files:
            shutil.copyfile(file, target / file.name)
    packer = _Packer(recipe, checkpoint, WorkingCopy(work_dir, checkpoint), files)
    places: dict[str, str] = {}
    for name in checkpoint.weight_files:
        tensors = packer.tensors_of(name)
        save_file(tensors, target / name, metadata={"format": "pt"})
        # The library keeps its files to their owner; an artifact is read by other services too.
        shutil.copymode(files / name, target / name)
        places |= dict.fromkeys(tensors, name)
    if (target / INDEX).is_file():
        index = {"metadata": {}, "weight_map": dict(sorted(places.items()))}
        (target / INDEX).write_text(json.dumps(index, indent=2))
    config = checkpoint.config | {"quantization_config": packer.config()}
    (target / CONFIG).write_text(json.dumps(config, indent=2))
    return target


class _Packer:
    def __init__(
        self, recipe: Recipe, checkpoint: Checkpoint, copy: WorkingCopy, files: Path
    ) -> None:
        self._recipe = recipe
        self._checkpoint = checkpoint
        self._copy = copy
        self._files = files
        self._scale_dtype = DTYPES[checkpoint.matrix(checkpoint.linears[0]).dtype]
        self._folded = self._folds()

    def tensors_of(self, file: str) -> dict[str, Tensor]:
        """The tensors of one of the parent's files, its compressed matrices packed."""
        tensors: dict[str, Tensor] = {}
        linears = set(self._checkpoint.linears)
        for name, entry in self._checkpoint.tensors.items():
            module, _, kind = name.rpartition(".")
            if entry.file != file:
                continue
            if kind == "weight" and module in linears:
                parts = self._pack(self._integers(module))
                tensors |= {f"{module}.{part}": value for part, value in parts.items()}
                continue
            value = read_tensor(self._files, entry)
            if module in self._folded:
                value = (value.float() / self._folded[module]).to(value.dtype)
            tensors[name] = value
        return tensors

    def config(self) -> dict[str, Any]:
        """What config.json says of the packing."""
        spec = _grid_spec(self._recipe)
        if self._recipe.layout == "packed-gptq":
            method = self._recipe.method
            return gptq_format.config(spec, method if isinstance(method, Gptq) else None)
        return compressed_tensors_format.config(spec, ignored=self._checkpoint.other_linears)

    def _pack(self, quantized: Quantized) -> dict[str, Tensor]:
        if self._recipe.layout == "packed-gptq":
            return gptq_format.pack(quantized)
        return compressed_tensors_format.pack(quantized, scale_dtype=self._scale_dtype)

    def _integers(self, module: str) -> Quantized:
        """A module's integers; its rows divided by what the matrices after it expect."""
        quantized = self._copy.integers(module)
        if module not in self._folded:
            return quantized
        grid = quantized.grid
        divided = replace(grid, scale=grid.scale / self._folded[module][:, None])
        return replace(quantized, grid=divided)

    def _folds(self) -> dict[str, Tensor]:
        """By module: what its outputs are divided by, so that AWQ's scales cancel out."""
        found: dict[str, Tensor] = {}
        for layer in range(self._checkpoint.layers):
            for i, group in enumerate(self._checkpoint.groups(layer)):
                scale = self._copy.integers(group[0]).channel_scale
                if scale is not None:
                    found[self._checkpoint.fold(layer, i)] = scale
        return found


def _grid_spec(recipe: Recipe) -> GridSpec:
    match recipe.method:
        case Gptq() | Rtn() as method:
            return GridSpec(method.bits, method.group_size, method.symmetric)
        case Awq() as method:
            return GridSpec(method.bits, method.group_size, symmetric=False)
        case _:
            raise TypeError(f"{recipe.name} does not quantize")
