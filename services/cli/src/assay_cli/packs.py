"""Data packs on this machine. Loads numpy and pyarrow: commands import it when they need it."""

from __future__ import annotations

from pathlib import Path

from assay_evaluators.packs import Pack
from assay_evaluators.packs.checking import CheckedPack, check_pack
from assay_evaluators.packs.decodingtrust import ImportReport, import_decodingtrust
from assay_evaluators.packs.mmlu import import_mmlu
from assay_evaluators.packs.schema import MANIFEST_FILE
from assay_evaluators.packs.team_prompts import check_size, write_prompts_pack

__all__ = [
    "CheckedPack",
    "ImportReport",
    "check_pack",
    "import_decodingtrust",
    "import_mmlu",
    "open_pack",
    "pack_digest",
    "pack_of_prompts",
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


def pack_of_prompts(file: Path, out: Path) -> str:
    """Writes the pack that a file of a team's prompts stands for, and returns its digest.

    Raises:
        AssayError: Names file, line and field of a broken row; never shows a value.
    """
    check_size(file.name, file.stat().st_size)
    return write_prompts_pack(file.read_bytes(), file.name, out)
