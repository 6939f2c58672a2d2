"""The resumable state of a job: a copy of the checkpoint, compressed in place layer by layer.

The dense layout has the parent's names, types and shapes, so its files differ from the parent's
only in the bytes of the compressed matrices. A layer counts as done once its record is written,
which is after its bytes; after a crash the layers with a record that matches the bytes are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from assay_compression.checkpoint.inspect import Checkpoint
from assay_compression.methods.grid import Grid, GridSpec, Quantized
from assay_compression.worker.copying import FILES, LAYERS, sync
from assay_compression.worker.records import LayerRecord
from assay_compression.worker.tensors import DTYPES, read_tensor, tensor_digest, write_tensor
from assay_core.digest import sha256_file


class WorkingCopy:
    """Matrices and journal of a job whose files were copied to `directory`."""

    def __init__(self, directory: Path, checkpoint: Checkpoint) -> None:
        self._files = directory / FILES
        self._layers = directory / LAYERS
        self._checkpoint = checkpoint

    def original(self, module: str) -> Tensor:
        """The parent's weight of a module, `[out, in]`."""
        stored = read_tensor(self._checkpoint.path, self._checkpoint.matrix(module))
        return self._oriented(module, stored)

    def dtype(self, module: str) -> torch.dtype:
        """Type that a module's weight is stored in."""
        return DTYPES[self._checkpoint.matrix(module).dtype]

    def current(self, module: str) -> Tensor:
        """The weight of a module as it stands in the copy, `[out, in]`."""
        stored = read_tensor(self._files, self._checkpoint.matrix(module))
        return self._oriented(module, stored)

    def write(self, module: str, weight: Tensor) -> str:
        """Writes a module's weight `[out, in]`; returns the digest of its bytes."""
        entry = self._checkpoint.matrix(module)
        return write_tensor(self._files, entry, self._oriented(module, weight))

    def write_integers(self, layer: int, matrices: Mapping[str, Quantized]) -> str:
        """Keeps the integers of a layer for a packed layout; returns the digest of the file."""
        tensors: dict[str, Tensor] = {}
        for module, quantized in matrices.items():
            tensors |= {f"{module}.{part}": value for part, value in _parts(quantized).items()}
        target = self._integers_path(layer)
        save_file(tensors, target)
        sync(target)
        return sha256_file(target)

    def integers(self, module: str) -> Quantized:
        """The integers of a module, as `write_integers` kept them."""
        layer = next(i for i in range(self._checkpoint.layers) if self._is_in(module, i))
        with safe_open(self._integers_path(layer), framework="pt") as stored:
            names = [name for name in list(stored.keys()) if name.rpartition(".")[0] == module]
            parts = {name.rpartition(".")[2]: stored.get_tensor(name) for name in names}
        bits, group_size, symmetric = parts["spec"].tolist()
        grid = Grid(
            GridSpec(bits, group_size, bool(symmetric)), parts["scale"], parts["zero_point"]
        )
        return Quantized(grid, parts["codes"], parts.get("channel_scale"))

    def commit(self, record: LayerRecord) -> None:
        """Records a layer whose weights were all written."""
        for name in {self._checkpoint.matrix(module).file for module in record.modules}:
            sync(self._files / name)
        target = self._record_path(record.layer)
        partial = target.with_suffix(".partial")
        partial.write_text(record.model_dump_json())
        sync(partial)
        partial.replace(target)

    def finished(self, layer: int) -> LayerRecord | None:
        """The record of a layer whose bytes match it; None if the layer must be done again."""
        try:
            record = LayerRecord.model_validate_json(self._record_path(layer).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        for module, fact in record.modules.items():
            if tensor_digest(self._files, self._checkpoint.matrix(module)) != fact.digest:
                return None
        integers = self._integers_path(layer)
        if record.integers is not None and not (
            integers.is_file() and sha256_file(integers) == record.integers
        ):
            return None
        return record

    def _oriented(self, module: str, weight: Tensor) -> Tensor:
        return weight.T if self._checkpoint.is_transposed(module) else weight

    def _is_in(self, module: str, layer: int) -> bool:
        return module.startswith(self._checkpoint.layer_prefix(layer))

    def _integers_path(self, layer: int) -> Path:
        return self._layers / f"{layer:05d}.safetensors"

    def _record_path(self, layer: int) -> Path:
        return self._layers / f"{layer:05d}.json"


def _parts(quantized: Quantized) -> dict[str, Tensor]:
    spec = quantized.grid.spec
    parts = {
        "codes": quantized.codes,
        "scale": quantized.grid.scale,
        "zero_point": quantized.grid.zero_point,
        "spec": torch.tensor([spec.bits, spec.group_size, int(spec.symmetric)]),
    }
    if quantized.channel_scale is not None:
        parts["channel_scale"] = quantized.channel_scale
    # A scale may be one tensor in several matrices, which a file may hold only once.
    return {name: value.cpu().clone().contiguous() for name, value in parts.items()}
