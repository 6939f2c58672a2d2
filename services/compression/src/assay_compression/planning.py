"""From a request to a plan: everything that can be checked is checked before work is queued."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from assay_compression.artifacts import dense_manifest
from assay_compression.calibration import read_documents
from assay_compression.checkpoint.errors import MODEL_FIELD, named_by
from assay_compression.checkpoint.folder import TOKENIZER
from assay_compression.checkpoint.imported import PACK_QUANTIZED, Import, inspect_import
from assay_compression.checkpoint.inspect import Checkpoint, inspect
from assay_compression.checkpoint.scan import FileFacts, Scanner, model_digest
from assay_compression.jobs.spec import CalibrationSpec
from assay_compression.methods.registry import (
    check_embeddings,
    check_layout,
    check_shape,
    check_supported,
)
from assay_compression.remote_text import fetch, is_remote
from assay_compression.settings import CompressionSettings
from assay_compression.sources import resolve
from assay_core.errors import (
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    Unimplemented,
)
from assay_core.recipes import Calibration, Imported, Recipe, variant_key
from assay_core.recipes.wire import Layout

_FLOAT_BYTES = 4
# A worker with torch and llm-compressor loaded and nothing to do.
_WORKER_BYTES = 700 << 20


class Plan(BaseModel):
    """What a job will do, as far as it depends on the request and on files.

    Attributes:
        variant_key: Identity of what is made.
        checkpoint: Directory of the base checkpoint.
        architecture: As in config.json; records from before there were others are of Llama.
        files: Its files as they are now.
        model_digest: Content digest of the checkpoint.
        parent_digest: Artifact digest of the dense variant; None for the dense variant itself.
        calibration: Identity of the calibration; None for methods that use no data.
        calibration_file: Where its text is.
        imported: Directory of a checkpoint that was compressed elsewhere, to be registered.
        imported_files: Its files as they are now.
        disk_bytes: Bytes that the job writes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    variant_key: str
    checkpoint: Path
    architecture: str = "LlamaForCausalLM"
    files: dict[str, FileFacts]
    model_digest: str
    parent_digest: str | None
    calibration: CalibrationSpec | None
    calibration_file: Path | None
    imported: Path | None = None
    imported_files: dict[str, FileFacts] = {}
    disk_bytes: int


class Planner:
    """Checks requests against files. All methods block: call them off the event loop."""

    def __init__(self, settings: CompressionSettings) -> None:
        self._settings = settings
        self._scanner = Scanner(settings.scan_cache)

    def plan(
        self, uri: str, expected_digest: str, recipe: Recipe, calibration: Calibration
    ) -> Plan:
        """Checks the request, the checkpoint and the calibration text.

        Raises:
            AssayError: Names the field or file that is wrong and the remedy.
        """
        # An imported recipe names what was registered; it is found by its key or not at all.
        if recipe.name != "imported":
            check_supported(recipe)
        path = self._model(uri, MODEL_FIELD)
        with named_by(MODEL_FIELD):
            checkpoint = inspect(path)
        if recipe.name != "imported":
            check_layout(recipe, checkpoint)
            check_embeddings(recipe, checkpoint)
        for module in checkpoint.compressed(include_embeddings=recipe.include_embeddings):
            check_shape(recipe, module, checkpoint.shape(module)[1])
        text, calibration_spec = self._calibration(recipe, calibration, checkpoint)
        with named_by(MODEL_FIELD):
            files = self._scanner.scan(checkpoint)
        digest = model_digest(files)
        check_digest("model.digest", expected_digest, digest)
        parent = None
        if recipe.name != "dense":
            parent = dense_manifest(checkpoint, files, digest).digest
        # The text's digest stands for its name: renaming a file changes nothing.
        content = calibration
        if calibration_spec is not None:
            content = calibration.model_copy(
                update={
                    "source": calibration_spec.digest,
                    "sequence_length": calibration_spec.sequence_length,
                }
            )
        # On CUDA all this is in the device's memory, which the worker alone sees.
        if calibration_spec is not None and "cpu" in self._settings.places:
            _check_memory(checkpoint, calibration_spec, recipe)
        return Plan(
            variant_key=variant_key(digest, recipe, content),
            checkpoint=path,
            architecture=checkpoint.architecture.name,
            files=files,
            model_digest=digest,
            parent_digest=parent,
            calibration=calibration_spec,
            calibration_file=text,
            # A packed layout is made beside the working copy and the integers of its layers.
            disk_bytes=(1 if recipe.layout == "dense" else 2) * sum(f.size for f in files.values()),
        )

    def plan_import(self, uri: str, parent_uri: str, layout: Layout | None) -> tuple[Plan, Recipe]:
        """Checks a checkpoint that was compressed elsewhere against its parent.

        Args:
            uri: The checkpoint.
            parent_uri: The dense checkpoint it was made from.
            layout: Layout to keep it in; None for the one it is in.

        Raises:
            AssayError: Names the field or file that is wrong and the remedy.
        """
        with named_by("parent.uri"):
            parent = inspect(self._model(parent_uri, "parent.uri"))
        with named_by("checkpoint.uri"):
            found = inspect_import(self._model(uri, "checkpoint.uri"), parent)
        origin = found.origin
        _check_import_layout(found, layout)
        with named_by("checkpoint.uri"):
            files = self._scanner.scan(found.folder)
        with named_by("parent.uri"):
            parent_files = self._scanner.scan(parent)
        recipe = Recipe(
            method=Imported(
                digest=model_digest(files),
                method=origin.method,
                bits=origin.bits,
                group_size=origin.group_size,
                act_order=origin.act_order,
                symmetric=origin.symmetric,
            ),
            layout=layout or origin.layout,
        )
        digest = model_digest(parent_files)
        plan = Plan(
            variant_key=variant_key(digest, recipe, Calibration()),
            checkpoint=parent.path,
            architecture=parent.architecture.name,
            files=parent_files,
            model_digest=digest,
            parent_digest=dense_manifest(parent, parent_files, digest).digest,
            calibration=None,
            calibration_file=None,
            imported=found.folder.path,
            imported_files=files,
            disk_bytes=sum(fact.size for fact in {**files, **parent_files}.values()),
        )
        return plan, recipe

    def check_disk(self, plan: Plan, data: Path | None) -> None:
        """Refuses a job that would fill the disk of its working folder or of the object store.

        Raises:
            ResourceExhausted: Says how much is needed and how much is free.
        """
        folders = [self._settings.work_root, *([data] if data is not None else [])]
        for folder in folders:
            existing = next(p for p in (folder, *folder.parents) if p.exists())
            free = shutil.disk_usage(existing).free
            needed = plan.disk_bytes + self._settings.disk_reserve_bytes
            if free < needed:
                raise ResourceExhausted(
                    f"the variant needs {needed} bytes of disk and {free} are free",
                    reason="DISK_FULL",
                    remedy="delete variants that are not needed, or move ASSAY_HOME",
                    metadata={"needed_bytes": str(needed), "free_bytes": str(free)},
                )

    def _model(self, uri: str, field: str) -> Path:
        return resolve(
            uri,
            field=field,
            named=self._settings.models,
            allowed=self._settings.readable_prefixes,
            kind="model",
        )

    def _text(self, source: str) -> Path:
        settings = self._settings
        if source not in settings.calibrations and is_remote(source):
            return fetch(source, settings.remote_prefixes, settings.calibration_cache)
        return resolve(
            source,
            field="calibration.source",
            named=settings.calibrations,
            allowed=settings.readable_prefixes,
            kind="calibration",
        )

    def _calibration(
        self, recipe: Recipe, calibration: Calibration, checkpoint: Checkpoint
    ) -> tuple[Path | None, CalibrationSpec | None]:
        if not recipe.needs_calibration:
            return None, None
        if not (checkpoint.path / TOKENIZER).is_file():
            raise FailedPrecondition(
                f"{TOKENIZER} is missing, and {recipe.name} must tokenize calibration text",
                field=MODEL_FIELD,
                reason="TOKENIZER_MISSING",
                remedy="save the fast tokenizer with the checkpoint, or use rtn or magnitude",
            )
        context = checkpoint.context_length
        if context is not None and calibration.sequence_length > context:
            raise InvalidArgument.of(
                "calibration.sequence_length",
                f"is {calibration.sequence_length}, more than the model's context of {context}",
                remedy=f"use at most {context}",
            )
        path = self._text(calibration.source)
        read_documents(path)
        spec = CalibrationSpec(
            digest=self._scanner.digest_file(path).digest,
            samples=calibration.samples,
            sequence_length=calibration.sequence_length,
            seed=calibration.seed,
        )
        return path, spec


def check_digest(field: str, expected: str, found: str) -> None:
    """Refuses a checkpoint that is not the one that was meant.

    Raises:
        FailedPrecondition: If a digest is expected and another was found.
    """
    if expected and expected != found:
        raise FailedPrecondition.of(
            field,
            f"is {expected}, but the checkpoint's is {found}",
            reason="DIGEST_MISMATCH",
            remedy=f"name the checkpoint that was meant, or leave {field} out",
        )


def _check_import_layout(found: Import, layout: Layout | None) -> None:
    origin = found.origin
    if layout in (None, origin.layout):
        return
    if layout != "dense":
        raise Unimplemented.of(
            "layout",
            f"is {layout}, and a registered checkpoint is kept as it is ({origin.layout}) or "
            "dequantized",
            remedy="leave layout out, or use dense",
        )
    readable = {"gptq": ("gptq", "gptq_v2"), "awq": ("gemm",)}
    if origin.variation not in readable.get(origin.method, (PACK_QUANTIZED,)):
        raise Unimplemented.of(
            "layout",
            f"is dense, and the {origin.method} format {origin.variation[:40]!r} is not read here",
            remedy="leave layout out to keep the checkpoint as it is",
        )


def _check_memory(checkpoint: Checkpoint, calibration: CalibrationSpec, recipe: Recipe) -> None:
    """Refuses a calibration whose hidden states and second moments do not fit into memory."""
    hidden = checkpoint.embedding.shape[1]
    states = calibration.samples * calibration.sequence_length * hidden * _FLOAT_BYTES
    inputs = [checkpoint.shape(group[0])[1] for group in checkpoint.groups(0)]
    moments = sum(columns**2 for columns in inputs) * _FLOAT_BYTES
    layer = sum(checkpoint.matrix(module).elements for module in checkpoint.linear_names(0))
    if recipe.include_embeddings:
        layer = max(layer, 2 * checkpoint.embedding.elements)
    # Two forms of one layer, twice its second moments (the routine works on a copy).
    needed = _WORKER_BYTES + states + 2 * moments + 2 * layer * _FLOAT_BYTES
    available = psutil.virtual_memory().available
    if available < needed:
        raise ResourceExhausted(
            f"the job needs about {needed >> 20} MiB of memory and {available >> 20} MiB are free",
            field="calibration.samples",
            reason="MEMORY_FULL",
            remedy="use fewer or shorter sequences, or a machine with more memory",
            metadata={"needed_bytes": str(needed), "available_bytes": str(available)},
        )
