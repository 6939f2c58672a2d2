"""One job from specification to artifact. Tensor libraries are imported when they are due."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from assay_compression.artifacts import ALGORITHM_REVISION, find, tool_versions
from assay_compression.checkpoint.errors import MODEL_FIELD, named_by
from assay_compression.checkpoint.imported import inspect_import
from assay_compression.checkpoint.inspect import Checkpoint, inspect
from assay_compression.checkpoint.scan import FileFacts
from assay_compression.jobs.reports import ProgressReport, Report, ResultReport
from assay_compression.jobs.spec import JobSpec
from assay_compression.jobs.work_dirs import held
from assay_compression.methods.registry import BACKENDS, tools_of
from assay_compression.worker.copying import check_unchanged, copy_checkpoint
from assay_compression.worker.publish import publish
from assay_compression.worker.records import LayerRecord
from assay_core.digest import digest_of
from assay_core.recipes import Recipe
from assay_core.storage import ObjectStore

Reporter = Callable[[Report], None]


def run_job(spec: JobSpec, report: Reporter) -> None:
    """Makes and publishes the artifact, continuing what an earlier run of the job left.

    Raises:
        AssayError: The job cannot be done; the working directory stays, to be resumed.
    """
    started = time.monotonic()
    with held(spec.work_dir):
        # Another worker may have made it while this one waited.
        known = find(ObjectStore(spec.data_uri), spec.variant_key)
        digest = known.digest if known is not None else _make(spec, report, started)
        shutil.rmtree(spec.work_dir, ignore_errors=True)
    report(ResultReport(artifact=digest))


def _make(spec: JobSpec, report: Reporter, started: float) -> str:
    with named_by(MODEL_FIELD if spec.imported is None else "parent.uri"):
        checkpoint = inspect(spec.checkpoint)
    report(ProgressReport(phase="copying the checkpoint", total=checkpoint.layers))
    recipe = Recipe.parse(spec.recipe)
    if spec.imported is not None:
        return _adopt(spec, spec.imported, checkpoint, report, started)
    with named_by(MODEL_FIELD):
        files = _copy(spec, spec.checkpoint, spec.files)
    layers: list[LayerRecord] = []
    if BACKENDS[recipe.name].module:
        # Importing torch takes seconds, which the dense recipe need not pay.
        from assay_compression.worker.compress import compress  # noqa: PLC0415 (see above)

        layers = compress(spec, checkpoint, report)
    if recipe.layout != "dense":
        # Nor need a dense layout pay for the library of the packed formats.
        from assay_compression.worker.packing import pack_checkpoint  # noqa: PLC0415 (see above)

        files = pack_checkpoint(recipe, checkpoint, spec.work_dir)
    return publish(spec, checkpoint, files, layers, started)


def _adopt(
    spec: JobSpec, source: Path, parent: Checkpoint, report: Reporter, started: float
) -> str:
    """Registers a checkpoint that was compressed elsewhere: as it is, or as plain matrices."""
    if Recipe.parse(spec.recipe).layout != "dense":
        with named_by("checkpoint.uri"):
            files = _copy(spec, source, spec.imported_files)
        return publish(spec, parent, files, [], started)
    from assay_compression.worker.importing import unpack_into  # noqa: PLC0415 (as in _make)

    with named_by("parent.uri"):
        files = _copy(spec, spec.checkpoint, spec.files)
    with named_by("checkpoint.uri"):
        check_unchanged(source, spec.imported_files)
        imported = inspect_import(source, parent)
    layers = unpack_into(parent, imported, spec.work_dir, report)
    return publish(spec, parent, files, layers, started)


def _copy(spec: JobSpec, source: Path, facts: dict[str, FileFacts]) -> Path:
    tools = tool_versions(tools_of(Recipe.parse(spec.recipe)))
    return copy_checkpoint(
        source,
        facts,
        spec.work_dir,
        fingerprint=digest_of([ALGORITHM_REVISION, spec.device, spec.threads, tools]),
    )
