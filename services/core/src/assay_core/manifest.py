"""Manifests: the deterministic identity of a directory of files.

`manifest.json` holds what the directory is (kind, identity fields) and a digest per file, and
nothing that differs between two runs of the same work; time, memory and host go to `run.json`,
which is outside the manifest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assay_core.digest import canonical_json, digest_of, sha256_file
from assay_core.errors import DataLoss

MANIFEST_NAME = "manifest.json"
RUN_NAME = "run.json"
_OUTSIDE = frozenset({MANIFEST_NAME, RUN_NAME})


class FileEntry(BaseModel):
    """Digest and size of one file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class Manifest(BaseModel):
    """What a stored directory is and what it holds.

    Attributes:
        schema_version: Version of this document.
        kind: What the directory is (`artifact`, `generation`, `score`, ...).
        identity: The fields that make it what it is, JSON values only.
        files: One entry per file, by its path relative to the directory with `/`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    kind: str
    identity: dict[str, Any]
    files: dict[str, FileEntry]

    @property
    def digest(self) -> str:
        """Digest of the whole: two directories with the same digest hold the same bytes."""
        return digest_of(self.model_dump(mode="json"))

    @property
    def total_bytes(self) -> int:
        """Size of all files together."""
        return sum(entry.bytes for entry in self.files.values())


def build_manifest(
    directory: Path,
    *,
    kind: str,
    identity: Mapping[str, Any],
    exclude: Collection[str] = _OUTSIDE,
) -> Manifest:
    """Reads and digests every file under `directory`; writes nothing."""
    return Manifest(
        kind=kind,
        identity=dict(identity),
        files={
            name: FileEntry(
                digest=sha256_file(directory / name), bytes=(directory / name).stat().st_size
            )
            for name in _files(directory)
            if name not in exclude
        },
    )


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Writes `manifest.json` in canonical form."""
    (directory / MANIFEST_NAME).write_bytes(canonical_json(manifest.model_dump(mode="json")))


def parse_manifest(data: bytes | str, source: str) -> Manifest:
    """Parses a manifest; `source` is the name that an error shows.

    Raises:
        DataLoss: If it is not a manifest of a version this build reads.
    """
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise DataLoss(
            f"{source} is not a readable manifest ({where}: {first['msg']})",
            reason="MANIFEST_UNREADABLE",
            remedy="delete the directory and create it again",
            metadata={"file": source},
        ) from error


def read_manifest(directory: Path) -> Manifest:
    """Reads `manifest.json`.

    Raises:
        DataLoss: If it is missing or unreadable.
    """
    path = directory / MANIFEST_NAME
    if not path.is_file():
        raise DataLoss(
            f"{path.name} is missing in {directory.name}",
            reason="MANIFEST_MISSING",
            remedy="delete the directory and create it again",
            metadata={"file": path.name},
        )
    return parse_manifest(path.read_bytes(), path.name)


def verify(directory: Path) -> None:
    """Checks every file against the manifest.

    Raises:
        DataLoss: Names the first file that is missing, has another size or another digest.
    """
    manifest = read_manifest(directory)
    for name, entry in sorted(manifest.files.items()):
        path = directory / name
        if not path.is_file():
            raise _damaged(name, "is missing")
        if path.stat().st_size != entry.bytes:
            raise _damaged(name, f"has {path.stat().st_size} bytes, {entry.bytes} were written")
        if sha256_file(path) != entry.digest:
            raise _damaged(name, "does not match its digest")


def _damaged(name: str, problem: str) -> DataLoss:
    return DataLoss(
        f"file {name} {problem}",
        reason="FILE_DAMAGED",
        remedy="delete the directory and create it again",
        metadata={"file": name},
    )


def _files(directory: Path) -> list[str]:
    return sorted(
        path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()
    )
