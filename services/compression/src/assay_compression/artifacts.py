"""Artifacts in the object store: what identifies one, where it lies, and how it is found.

`artifacts/<hex>/` is named after the digest of its manifest. `variants/<hex>.json` says which
artifact a variant key (model, recipe, calibration) gave, so that a known variant is a cache hit
without any database.
"""

from __future__ import annotations

from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from assay_compression.checkpoint.folder import TOKENIZER_FILES, chat_template
from assay_compression.checkpoint.inspect import Checkpoint
from assay_compression.checkpoint.scan import FileFacts
from assay_compression.efficiency import count, dense_bits, stored_bits
from assay_compression.jobs.spec import CalibrationSpec
from assay_compression.methods.registry import bits_per_weight
from assay_core.digest import digest_of, hex_of, sha256_bytes
from assay_core.errors import DataLoss, NotFound
from assay_core.manifest import (
    MANIFEST_NAME,
    RUN_NAME,
    FileEntry,
    Manifest,
    parse_manifest,
)
from assay_core.recipes import Recipe
from assay_core.storage import ObjectStore

KIND = "artifact"
WEIGHTS_NAME = "weights.json"
# Grows when the same recipe would give other weights, so that old artifacts are not mistaken.
ALGORITHM_REVISION = 1


class VariantEntry(BaseModel):
    """The object `variants/<hex>.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    artifact: str


class RunRecord(BaseModel):
    """The object `run.json`: how the job ran, outside the identity."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wall_seconds: float
    peak_memory_bytes: int
    host: str
    device: str
    backend: str
    threads: int


def artifact_key(digest: str) -> str:
    """Folder of an artifact in the object store."""
    return f"artifacts/{hex_of(digest)}"


def variant_entry_key(variant_key: str) -> str:
    """Object that says which artifact a variant key gave."""
    return f"variants/{hex_of(variant_key)}.json"


def identity(
    checkpoint: Checkpoint,
    facts: dict[str, FileFacts],
    *,
    model_digest: str,
    recipe: Recipe,
    calibration: CalibrationSpec | None,
    parent_digest: str | None,
    tools: tuple[str, ...],
    sparsity: float,
    packed_files: Path | None = None,
) -> dict[str, Any]:
    """What makes an artifact what it is, next to its files; the same work gives the same value.

    In a packed layout (`packed_files`) costs are counted from what is stored.
    """
    template = chat_template(checkpoint.path)
    modules = checkpoint.compressed(include_embeddings=recipe.include_embeddings)
    if packed_files is None:
        bits = bits_per_weight(recipe, dense_bits(checkpoint, modules))
    else:
        bits = stored_bits(checkpoint, packed_files)
    costs = count(checkpoint, modules, bits)
    return {
        "model_digest": model_digest,
        "parent_digest": parent_digest,
        "recipe": recipe.canonical(),
        "calibration": calibration.model_dump() if calibration else None,
        "architecture": checkpoint.architecture.name,
        "parameters": checkpoint.parameters,
        "efficiency": asdict(costs),
        "sparsity": sparsity,
        "layout": recipe.layout,
        "tokenizer_digest": digest_of(
            {name: facts[name].digest for name in TOKENIZER_FILES if name in facts}
        ),
        "chat_template_digest": sha256_bytes(template.encode()) if template else "",
        "algorithm_revision": ALGORITHM_REVISION,
        "tools": tool_versions(tools),
    }


def tool_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Installed versions of distributions."""
    return {name: metadata.version(name) for name in names}


def dense_manifest(
    checkpoint: Checkpoint, facts: dict[str, FileFacts], model_digest: str
) -> Manifest:
    """The manifest of the dense variant, known before it is made: its files are the parent's."""
    return Manifest(
        kind=KIND,
        identity=identity(
            checkpoint,
            facts,
            model_digest=model_digest,
            recipe=Recipe.parse("dense"),
            calibration=None,
            parent_digest=None,
            tools=(),
            sparsity=0.0,
        ),
        files={name: FileEntry(digest=f.digest, bytes=f.size) for name, f in facts.items()},
    )


def find(store: ObjectStore, variant_key: str) -> Manifest | None:
    """The published artifact of a variant key, its files present in full size.

    Returns:
        None if there is none, or if it is damaged; a damaged one is made again.
    """
    try:
        entry = VariantEntry.model_validate(store.read_json(variant_entry_key(variant_key)))
        manifest = read(store, entry.artifact)
    except (NotFound, DataLoss):
        return None
    return manifest if is_whole(store, manifest) else None


def is_whole(store: ObjectStore, manifest: Manifest) -> bool:
    """Whether every file of an artifact is there in full size."""
    folder = artifact_key(manifest.digest)
    try:
        return all(
            store.size(store.join(folder, name)) == file.bytes
            for name, file in manifest.files.items()
        )
    except NotFound:
        return False


def read(store: ObjectStore, digest: str) -> Manifest:
    """Reads and checks the manifest of an artifact.

    Raises:
        NotFound: If there is no such artifact.
        DataLoss: If the manifest is not the one the digest stands for.
    """
    key = store.join(artifact_key(digest), MANIFEST_NAME)
    manifest = parse_manifest(store.read_bytes(key), MANIFEST_NAME)
    if manifest.digest != digest:
        raise DataLoss(
            f"the manifest of artifact {digest} does not match its digest",
            reason="MANIFEST_DAMAGED",
            remedy="delete the variant and create it again",
            metadata={"file": MANIFEST_NAME},
        )
    return manifest


def read_optional_json(store: ObjectStore, digest: str, name: str) -> dict[str, Any]:
    """A JSON object of an artifact; empty if the artifact has none."""
    try:
        value = store.read_json(store.join(artifact_key(digest), name))
    except (NotFound, DataLoss):
        return {}
    return value if isinstance(value, dict) else {}


def read_run(store: ObjectStore, digest: str) -> RunRecord | None:
    """How an artifact was made; None if that is not known."""
    value = read_optional_json(store, digest, RUN_NAME)
    return RunRecord.model_validate(value) if value else None


def delete(store: ObjectStore, digest: str, variant_key: str) -> None:
    """Deletes an artifact; its entry goes first, so that nobody finds half of it."""
    store.delete_tree(variant_entry_key(variant_key))
    store.delete_tree(artifact_key(digest))
