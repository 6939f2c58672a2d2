"""The layer-sequential driver: one loop for every method.

A layer's matrices are compressed with what the layers before it, already compressed, feed it; then
the hidden states move on through the compressed layer. A layer that an earlier run finished is
taken as it is, and the hidden states move through it all the same, so that a resumed job gives the
bytes of an undisturbed one.
"""

from __future__ import annotations

import pkgutil
import time
from collections.abc import Callable

import torch
from torch import Tensor

from assay_compression.checkpoint.inspect import Checkpoint
from assay_compression.formats import GPTQ_SCALE_DTYPE
from assay_compression.jobs.reports import ProgressReport
from assay_compression.jobs.spec import JobSpec
from assay_compression.methods.grid import Quantized
from assay_compression.methods.registry import BACKENDS
from assay_compression.methods.routine import Compressed, Context, Matrix, Routine
from assay_compression.worker.activations import Activations
from assay_compression.worker.records import LayerRecord, ModuleRecord
from assay_compression.worker.sequences import draw_sequences
from assay_compression.worker.statistics import describe_change
from assay_compression.worker.tensors import DTYPES
from assay_compression.worker.working_copy import WorkingCopy
from assay_core.recipes import Recipe

Progress = Callable[[ProgressReport], None]


def compress(spec: JobSpec, checkpoint: Checkpoint, progress: Progress) -> list[LayerRecord]:
    """Compresses the copy of the checkpoint in the job's working directory.

    Returns:
        The record of every layer, of this run and of earlier ones.

    Raises:
        FailedPrecondition: If the calibration text is too short, or has changed.
    """
    torch.set_num_threads(spec.threads)
    device = torch.device(spec.device)
    if device.type == "cuda":
        # On the CPU these operations are deterministic, and the switch itself imports for seconds.
        torch.use_deterministic_algorithms(mode=True)
    with torch.inference_mode():
        activations = None
        if spec.calibration is not None and spec.calibration_file is not None:
            progress(ProgressReport(phase="reading calibration", total=checkpoint.layers))
            sequences = draw_sequences(checkpoint.path, spec.calibration_file, spec.calibration)
            activations = Activations(checkpoint, sequences, device)
        recipe = Recipe.parse(spec.recipe)
        seed = spec.calibration.seed if spec.calibration else 0
        copy = WorkingCopy(spec.work_dir, checkpoint)
        driver = _Driver(
            checkpoint,
            copy,
            _routine(recipe, checkpoint, seed),
            activations,
            device,
            keeps_integers=recipe.layout != "dense",
        )
        return driver.run(progress)


def _routine(recipe: Recipe, checkpoint: Checkpoint, seed: int) -> Routine:
    is_gptq_format = recipe.layout == "packed-gptq"
    parent = DTYPES[checkpoint.matrix(checkpoint.linears[0]).dtype]
    context = Context(seed=seed, scale_dtype=GPTQ_SCALE_DTYPE if is_gptq_format else parent)
    # By name: importing the library of a method costs seconds, and a job needs one method.
    build = pkgutil.resolve_name(f"{BACKENDS[recipe.name].module}:routine")
    routine: Routine = build(recipe.method, context)
    return routine


class _Driver:
    def __init__(
        self,
        checkpoint: Checkpoint,
        copy: WorkingCopy,
        routine: Routine,
        activations: Activations | None,
        device: torch.device,
        *,
        keeps_integers: bool,
    ) -> None:
        self._checkpoint = checkpoint
        self._copy = copy
        self._routine = routine
        self._activations = activations
        self._device = device
        self._keeps_integers = keeps_integers

    def run(self, progress: Progress) -> list[LayerRecord]:
        records = []
        layers = self._checkpoint.layers
        pace = _Pace(layers)
        for layer in range(layers):
            progress(pace.report(layer))
            record = self._copy.finished(layer)
            if record is None:
                record = self._layer(layer)
                pace.count_layer()
            records.append(record)
            if self._activations is not None and layer + 1 < layers:
                modules = self._checkpoint.linear_names(layer)
                weights = {module: self._copy.current(module) for module in modules}
                self._activations.advance(layer, weights)
        progress(pace.report(layers))
        return records

    def _layer(self, layer: int) -> LayerRecord:
        seen = self._activations.observe(layer) if self._activations is not None else {}
        done: dict[str, ModuleRecord] = {}
        integers: dict[str, Quantized] = {}
        for i, group in enumerate(self._checkpoint.groups(layer)):
            may_scale = bool(self._checkpoint.fold(layer, i))
            matrices = [
                Matrix(module, self._original(module), seen.get(module), may_scale)
                for module in group
            ]
            for matrix, compressed in zip(matrices, self._routine(matrices), strict=True):
                done[matrix.name] = self._write(matrix, compressed)
                if self._keeps_integers and compressed.quantized is not None:
                    integers[matrix.name] = compressed.quantized
        digest = self._copy.write_integers(layer, integers) if integers else None
        record = LayerRecord(layer=layer, integers=digest, modules=done)
        self._copy.commit(record)
        return record

    def _original(self, module: str) -> Tensor:
        return self._copy.original(module).to(self._device).float()

    def _write(self, matrix: Matrix, compressed: Compressed) -> ModuleRecord:
        # Statistics are of what is stored, after rounding to the parent's type.
        stored = compressed.weight.to(self._copy.dtype(matrix.name))
        digest = self._copy.write(matrix.name, stored)
        return describe_change(
            matrix.weight, stored.float(), matrix.seen, compressed, digest=digest
        )


class _Pace:
    """Seconds per layer of this run, for the estimate of what is left."""

    def __init__(self, layers: int) -> None:
        self._layers = layers
        self._started = time.monotonic()
        self._done = 0

    def count_layer(self) -> None:
        """Counts a layer that this run has compressed."""
        self._done += 1

    def report(self, layer: int) -> ProgressReport:
        """Progress before `layer`."""
        eta = None
        if self._done:
            eta = (time.monotonic() - self._started) / self._done * (self._layers - layer)
        finished = layer == self._layers
        phase = "publishing" if finished else f"compressing layer {layer + 1} of {self._layers}"
        return ProgressReport(phase=phase, completed=layer, total=self._layers, eta_seconds=eta)
