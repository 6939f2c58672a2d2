"""A checkpoint that was compressed elsewhere, as plain matrices in its parent's files.

Names, shapes and types are the parent's, so that the result swaps in place like every dense
variant; values are the foreign checkpoint's, its integers multiplied out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from assay_compression.checkpoint.imported import Import
from assay_compression.checkpoint.inspect import Checkpoint
from assay_compression.formats import awq_format, compressed_tensors_format, gptq_format
from assay_compression.jobs.reports import ProgressReport
from assay_compression.methods.routine import Compressed
from assay_compression.worker.copying import FILES
from assay_compression.worker.records import LayerRecord, ModuleRecord
from assay_compression.worker.statistics import describe_change
from assay_compression.worker.tensors import DTYPES, read_tensor, write_tensor
from assay_compression.worker.working_copy import WorkingCopy


def unpack_into(
    parent: Checkpoint,
    imported: Import,
    work_dir: Path,
    progress: Callable[[ProgressReport], None],
) -> list[LayerRecord]:
    """Overwrites a working copy of the parent with the foreign checkpoint's values.

    Returns:
        What changed, layer by layer, against the parent.
    """
    copy = WorkingCopy(work_dir, parent)
    linears = {f"{module}.weight" for module in parent.linears}
    for name, entry in parent.tensors.items():
        if name not in linears and name in imported.folder.tensors:
            value = read_tensor(imported.folder.path, imported.folder.tensors[name])
            write_tensor(work_dir / FILES, entry, value.to(DTYPES[entry.dtype]))
    records = []
    with torch.inference_mode():
        for layer in range(parent.layers):
            progress(
                ProgressReport(
                    phase=f"unpacking layer {layer + 1} of {parent.layers}",
                    completed=layer,
                    total=parent.layers,
                )
            )
            record = copy.finished(layer)
            if record is None:
                record = _layer(layer, parent, imported, copy)
                copy.commit(record)
            records.append(record)
    return records


def _layer(layer: int, parent: Checkpoint, imported: Import, copy: WorkingCopy) -> LayerRecord:
    done: dict[str, ModuleRecord] = {}
    for module in parent.linear_names(layer):
        weight = _weight(module, parent, imported)
        stored = weight.to(copy.dtype(module))
        digest = copy.write(module, stored)
        before = copy.original(module).float()
        done[module] = describe_change(
            before, stored.float(), None, Compressed(weight), digest=digest
        )
    return LayerRecord(layer=layer, modules=done)


def _weight(module: str, parent: Checkpoint, imported: Import) -> Tensor:
    """A module's weight `[out, in]`, float32."""
    folder, origin = imported.folder, imported.origin
    if (entry := folder.tensors.get(f"{module}.weight")) is not None:
        plain = read_tensor(folder.path, entry).float()
        return plain.T if parent.architecture.transposed else plain
    start = f"{module}."
    parts = {
        name.removeprefix(start): read_tensor(folder.path, entry)
        for name, entry in folder.tensors.items()
        if name.startswith(start)
    }
    match origin.method:
        case "gptq":
            return gptq_format.unpack(parts, bits=origin.bits, checkpoint_format=origin.variation)
        case "awq":
            return awq_format.unpack(parts)
        case _:
            arguments = compressed_tensors_format.arguments_in(folder.config)
            return compressed_tensors_format.unpack(parts, arguments)
