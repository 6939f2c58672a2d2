"""Data packs on this machine. Loads numpy and pyarrow: commands import it when they need it."""

from __future__ import annotations

from pathlib import Path

from assay_evaluators.packs import Pack
from assay_evaluators.packs.checking import CheckedPack, check_pack
from assay_evaluators.packs.decodingtrust import ImportReport, import_decodingtrust
from assay_evaluators.packs.mmlu import import_mmlu
from assay_evaluators.packs.schema import MANIFEST_FILE

__all__ = [
    "CheckedPack",
    "ImportReport",
    "check_pack",
    "import_decodingtrust",
    "import_mmlu",
    "open_pack",
    "pack_digest",
    "paths_of",
]


def paths_of(folder: Path) -> list[str]:
    """Paths of a good pack's files, its manifest first.

    Raises:
        AssayError: Names the file, and the line of a broken row.
    """
    return [MANIFEST_FILE, *check_pack(str(folder)).pack.manifest.files]


def open_pack(uri: str) -> Pack:
    """A pack by directory or URI.

    Raises:
        AssayError: If it is none.
    """
    return Pack.open(uri)


def pack_digest(uri: str) -> str:
    """Digest of a pack whose files are all what they should be.

    Raises:
        AssayError: Names the file that is not.
    """
    pack = Pack.open(uri)
    pack.verify()
    return pack.digest
