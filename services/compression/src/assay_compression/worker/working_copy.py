"""The resumable state of a job: a copy of the checkpoint, compressed in place layer by layer.

The dense layout has the parent's names, types and shapes, so its files differ from the parent's
only in the bytes of the compressed matrices. A layer counts as done once its record is written,
which is after its bytes; after a crash the layers with a record that matches the bytes are kept.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError
from torch import Tensor

from assay_compression.checkpoint.inspect import Checkpoint
from assay_compression.worker.copying import FILES, LAYERS, sync
from assay_compression.worker.records import LayerRecord
from assay_compression.worker.tensors import read_tensor, tensor_digest, write_tensor


class WorkingCopy:
    """Matrices and journal of a job whose files were copied to `directory`."""

    def __init__(self, directory: Path, checkpoint: Checkpoint) -> None:
        self._files = directory / FILES
        self._layers = directory / LAYERS
        self._checkpoint = checkpoint

    def original(self, module: str) -> Tensor:
        """The parent's weight of a module, `[out, in]`."""
        return self._oriented(read_tensor(self._checkpoint.path, self._checkpoint.matrix(module)))

    def current(self, module: str) -> Tensor:
        """The weight of a module as it stands in the copy, `[out, in]`."""
        return self._oriented(read_tensor(self._files, self._checkpoint.matrix(module)))

    def write(self, module: str, weight: Tensor) -> str:
        """Writes a module's weight `[out, in]`; returns the digest of its bytes."""
        entry = self._checkpoint.matrix(module)
        return write_tensor(self._files, entry, self._oriented(weight))

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
        return record

    def _oriented(self, weight: Tensor) -> Tensor:
        return weight.T if self._checkpoint.architecture.transposed else weight

    def _record_path(self, layer: int) -> Path:
        return self._layers / f"{layer:05d}.json"
