"""From a finished working copy to an artifact that others can find."""

from __future__ import annotations

import errno
import platform
import resource
import shutil
import time
from pathlib import Path

from assay_compression.artifacts import (
    KIND,
    WEIGHTS_NAME,
    RunRecord,
    VariantEntry,
    artifact_key,
    identity,
    is_whole,
    variant_entry_key,
)
from assay_compression.checkpoint.folder import CONFIG, INDEX
from assay_compression.checkpoint.inspect import Checkpoint
from assay_compression.checkpoint.scan import FileFacts
from assay_compression.jobs.spec import JobSpec
from assay_compression.methods.registry import backend_version, tools_of
from assay_compression.worker.copying import sync
from assay_compression.worker.records import LayerRecord
from assay_core.digest import canonical_json
from assay_core.errors import DataLoss
from assay_core.manifest import (
    MANIFEST_NAME,
    RUN_NAME,
    Manifest,
    build_manifest,
    verify,
    write_manifest,
)
from assay_core.recipes import Recipe
from assay_core.storage import ObjectStore


def publish(
    spec: JobSpec, checkpoint: Checkpoint, files: Path, layers: list[LayerRecord], started: float
) -> str:
    """Writes statistics, manifest and run record, and publishes `files` in one step.

    Returns:
        The artifact's digest.

    Raises:
        DataLoss: If an unchanged file differs from the parent's, or a published copy is damaged.
    """
    recipe = Recipe.parse(spec.recipe)
    # Of what is registered as it is, the files are its own and not its parent's.
    is_foreign = spec.imported is not None and recipe.layout != "dense"
    sources = spec.imported_files if is_foreign else spec.files
    if layers:
        _write_weights(files, layers)
    manifest = build_manifest(
        files,
        kind=KIND,
        identity=identity(
            checkpoint,
            sources,
            model_digest=spec.model_digest,
            recipe=recipe,
            calibration=spec.calibration,
            parent_digest=spec.parent_digest,
            # The dense artifact is the parent's bytes, whatever version copied them.
            tools=tools_of(recipe) if layers else (),
            sparsity=_sparsity(layers),
            packed_files=files if recipe.layout != "dense" else None,
        ),
    )
    changed = set(checkpoint.weight_files) if layers else set()
    if recipe.layout != "dense" and not is_foreign:
        changed |= {CONFIG, INDEX}
    _check_copies(manifest, sources, changed)
    write_manifest(files, manifest)
    run = RunRecord(
        wall_seconds=round(time.monotonic() - started, 3),
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        host=platform.node(),
        device=spec.device,
        backend=backend_version(recipe.name),
        threads=spec.threads,
    )
    (files / RUN_NAME).write_bytes(canonical_json(run.model_dump()))
    for name in (*manifest.files, MANIFEST_NAME, RUN_NAME):
        sync(files / name)
    store = ObjectStore(spec.data_uri)
    _place(store, files, manifest)
    store.write_json(
        variant_entry_key(spec.variant_key), VariantEntry(artifact=manifest.digest).model_dump()
    )
    return manifest.digest


def _place(store: ObjectStore, files: Path, manifest: Manifest) -> None:
    key = artifact_key(manifest.digest)
    # Bytes that no longer match their digest serve nobody: this copy replaces them. Of a remote
    # artifact only the sizes are asked for here; whoever downloads it checks every digest.
    if not store.is_local and store.exists(store.join(key, MANIFEST_NAME)):
        if not is_whole(store, manifest):
            store.delete_tree(key)
    elif store.is_local and (target := store.local_path(key)).exists():
        try:
            verify(target)
        except DataLoss:
            shutil.rmtree(target)
    if store.is_local and _rename(files, store.local_path(key)):
        return
    store.upload_tree(files, key)


def _rename(files: Path, target: Path) -> bool:
    """Moves the working copy into place; False where that is not one rename."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return False
    try:
        files.rename(target)
    except OSError as error:
        # Between file systems, and between two mounts of one, as volumes of a pod are.
        if error.errno == errno.EXDEV:
            return False
        raise
    return True


def _write_weights(files: Path, layers: list[LayerRecord]) -> None:
    modules = {name: record for layer in layers for name, record in layer.modules.items()}
    document = {
        "schema_version": 1,
        "modules": {name: record.model_dump() for name, record in modules.items()},
    }
    (files / WEIGHTS_NAME).write_bytes(canonical_json(document))


def _sparsity(layers: list[LayerRecord]) -> float:
    """Share of zeros in the compressed matrices; the dense variant compresses none."""
    records = [record for layer in layers for record in layer.modules.values()]
    zeros = sum(round(record.elements * record.zero_fraction) for record in records)
    return zeros / sum(record.elements for record in records) if records else 0.0


def _check_copies(manifest: Manifest, sources: dict[str, FileFacts], changed: set[str]) -> None:
    for name, fact in sources.items():
        if name not in changed and manifest.files[name].digest != fact.digest:
            raise DataLoss(
                f"the copy of {name} does not match the checkpoint's file",
                reason="FILE_DAMAGED",
                remedy="create the variant again; check the disk if it happens twice",
                metadata={"file": name},
            )
