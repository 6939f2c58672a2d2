"""Data packs on this machine. Loads numpy and pyarrow: commands import it when they need it."""

from __future__ import annotations

from dataclasses import dataclass

from assay_evaluators.packs import Pack
from assay_evaluators.packs.decodingtrust import ImportReport, import_decodingtrust
from assay_evaluators.packs.schema import PackManifest
from assay_evaluators.sdk.dimension import dimension_names, load_dimension

__all__ = ["CheckedPack", "ImportReport", "check", "import_decodingtrust", "pack_digest"]


@dataclass(frozen=True)
class CheckedPack:
    """A pack that is good.

    Attributes:
        manifest: Its `pack.json`.
        digest: Digest of the pack.
        rows: Rows by dimension that has an evaluator here.
        unchecked: Dimensions without one, whose rows nobody looked at.
    """

    manifest: PackManifest
    digest: str
    rows: dict[str, int]
    unchecked: tuple[str, ...]


def check(uri: str) -> CheckedPack:
    """Reads a whole pack: every row against its dimension's rules, every file's digest.

    Raises:
        AssayError: Names the file, and the line of a broken row.
    """
    pack = Pack.open(uri)
    rows = _rows(pack)
    # After the rows, because who edited a pack wants to know the row first.
    pack.verify()
    pack.prompts()
    unchecked = sorted(set(pack.manifest.dimensions) - set(dimension_names()))
    return CheckedPack(pack.manifest, pack.digest, rows, tuple(unchecked))


def pack_digest(uri: str) -> str:
    """Digest of a pack whose files are all what they should be.

    Raises:
        AssayError: Names the file that is not.
    """
    pack = Pack.open(uri)
    pack.verify()
    return pack.digest


def _rows(pack: Pack) -> dict[str, int]:
    checked: dict[str, int] = {}
    for name in dimension_names():
        entry = pack.manifest.dimensions.get(name)
        if entry is None:
            continue
        dimension = load_dimension(name)
        checked[name] = sum(
            len(pack.rows(scenario.file, dimension.row_model_of(scenario_name)))
            for scenario_name, scenario in entry.scenarios.items()
            if scenario.file is not None
        )
    return checked
