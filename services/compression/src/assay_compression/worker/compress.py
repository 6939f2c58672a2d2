"""The layer-sequential driver: one loop for every method.

A layer's matrices are compressed with what the layers before it, already compressed, feed it; then
the hidden states move on through the compressed layer. A layer that an earlier run finished is
taken as it is, and the hidden states move through it all the same, so that a resumed job gives the
bytes of an undisturbed one.
"""

from __future__ import annotations

import functools
import pkgutil
import time
from collections.abc import Callable

import torch
from torch import Tensor

from assay_compression.checkpoint.inspect import Checkpoint
from assay_compression.formats import GPTQ_SCALE_DTYPE
from assay_compression.jobs.reports import ProgressReport
from assay_compression.jobs.spec import JobSpec
from assay_compression.methods import lookup
from assay_compression.methods.grid import Quantized
from assay_compression.methods.registry import BACKENDS
from assay_compression.methods.routine import Compressed, Context, Matrix, Routine
from assay_compression.worker.activations import Activations
from assay_compression.worker.devices import ready
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
        FailedPrecondition: If the calibration text is too short, or has changed, or there is no
            such device.
    """
    device = ready(spec.device, spec.threads)
    with torch.inference_mode():
        sequences = None
        if spec.calibration is not None and spec.calibration_file is not None:
            progress(ProgressReport(phase="reading calibration", total=checkpoint.layers))
            sequences = draw_sequences(checkpoint.path, spec.calibration_file, spec.calibration)
        recipe = Recipe.parse(spec.recipe)
        seed = spec.calibration.seed if spec.calibration else 0
        context = Context(seed=seed, scale_dtype=_scale_dtype(recipe, checkpoint))
        copy = WorkingCopy(spec.work_dir, checkpoint)
        driver = _Driver(checkpoint, copy, recipe, context, device)
        return driver.run(sequences, progress)


def _scale_dtype(recipe: Recipe, checkpoint: Checkpoint) -> torch.dtype:
    if recipe.layout == "packed-gptq":
        return GPTQ_SCALE_DTYPE
    return DTYPES[checkpoint.matrix(checkpoint.linears[0]).dtype]


class _Driver:
    def __init__(
        self,
        checkpoint: Checkpoint,
        copy: WorkingCopy,
        recipe: Recipe,
        context: Context,
        device: torch.device,
    ) -> None:
        self._checkpoint = checkpoint
        self._copy = copy
        self._recipe = recipe
        self._context = context
        self._device = device
        # By name: importing the library of a method costs seconds, and a job needs one method.
        build = pkgutil.resolve_name(f"{BACKENDS[recipe.name].module}:routine")
        self._routine: Routine = build(recipe.method, context)

    def run(self, sequences: Tensor | None, progress: Progress) -> list[LayerRecord]:
        """Compresses an embedding of its own, then the layers, then the output head."""
        checkpoint = self._checkpoint
        layers = checkpoint.layers
        outside = checkpoint.outside if self._recipe.include_embeddings else ()
        parts = _Parts(self._copy, layers + len(outside), progress)
        embedding = None
        if len(outside) > 1:
            parts.make(layers + 1, "compressing the embedding", self._embedding)
            embedding = self._copy.current(checkpoint.embedding_module)
        activations = None
        if sequences is not None:
            activations = Activations(checkpoint, sequences, self._device, embedding)
        for layer in range(layers):
            phase = f"compressing layer {layer + 1} of {layers}"
            parts.make(layer, phase, functools.partial(self._layer, layer, activations))
            if activations is not None and (outside or layer + 1 < layers):
                modules = checkpoint.linear_names(layer)
                activations.advance(layer, {name: self._copy.current(name) for name in modules})
        if outside:
            head = functools.partial(self._head, activations)
            parts.make(layers, "compressing the output head", head)
        return parts.end()

    def _layer(self, layer: int, activations: Activations | None) -> LayerRecord:
        seen = activations.observe(layer) if activations is not None else {}
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
                if self._recipe.layout != "dense" and compressed.quantized is not None:
                    integers[matrix.name] = compressed.quantized
        digest = self._copy.write_integers(layer, integers) if integers else None
        return LayerRecord(layer=layer, integers=digest, modules=done)

    def _embedding(self) -> LayerRecord:
        """An embedding that is looked up and nothing else."""
        module = self._checkpoint.embedding_module
        run = lookup.routine(self._recipe.method, self._context)
        return self._alone(
            self._checkpoint.layers + 1, Matrix(module, self._original(module), None), run
        )

    def _head(self, activations: Activations | None) -> LayerRecord:
        """The output head, which may be the embedding: it is multiplied, so it has inputs."""
        checkpoint = self._checkpoint
        module = checkpoint.head_module
        seen = activations.observe_head() if activations is not None else None
        # The last norm can take over a division, but not for the embedding's lookups too.
        own_norm = not checkpoint.is_tied and len(checkpoint.other_linears) == 1
        matrix = Matrix(module, self._original(module), seen, may_scale=own_norm)
        return self._alone(checkpoint.layers, matrix, self._routine)

    def _alone(self, number: int, matrix: Matrix, run: Routine) -> LayerRecord:
        (compressed,) = run([matrix])
        record = self._write(matrix, compressed)
        head = self._checkpoint.architecture.head
        if self._checkpoint.is_tied and head in self._checkpoint.tensors:
            # Stored twice, used once: both copies say the same.
            twin = head.removesuffix(".weight")
            self._copy.write(twin, self._copy.current(matrix.name))
        return LayerRecord(layer=number, modules={matrix.name: record})

    def _original(self, module: str) -> Tensor:
        return self._copy.original(module).to(self._device).float()

    def _write(self, matrix: Matrix, compressed: Compressed) -> ModuleRecord:
        # Statistics are of what is stored, after rounding to the parent's type.
        stored = compressed.weight.to(self._copy.dtype(matrix.name))
        digest = self._copy.write(matrix.name, stored)
        return describe_change(
            matrix.weight, stored.float(), matrix.seen, compressed, digest=digest
        )


class _Parts:
    """The parts of a job in order: those that an earlier run finished are taken as they are."""

    def __init__(self, copy: WorkingCopy, total: int, progress: Progress) -> None:
        self._copy = copy
        self._total = total
        self._progress = progress
        self._records: list[LayerRecord] = []
        self._started = time.monotonic()
        self._made = 0

    def make(self, number: int, phase: str, work: Callable[[], LayerRecord]) -> None:
        """Does one part, unless its record matches its bytes."""
        self._report(phase)
        record = self._copy.finished(number)
        if record is None:
            record = work()
            self._copy.commit(record)
            self._made += 1
        self._records.append(record)

    def end(self) -> list[LayerRecord]:
        """Every part's record."""
        self._report("publishing")
        return self._records

    def _report(self, phase: str) -> None:
        """Progress before a part, with what is left at this run's pace."""
        done = len(self._records)
        eta = None
        if self._made:
            eta = (time.monotonic() - self._started) / self._made * (self._total - done)
        self._progress(
            ProgressReport(phase=phase, completed=done, total=self._total, eta_seconds=eta)
        )
