"""Where rows and phrase lists come from: a data pack, or the checkout around the generations."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assay_core.errors import AssayError, NotFound
from assay_evaluators.packs.decodingtrust import import_decodingtrust
from assay_evaluators.packs.decodingtrust.extract import has_program
from assay_evaluators.packs.decodingtrust.source import PROMPTS_FILE, Checkout
from assay_evaluators.packs.loading import Pack
from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.sdk.dimension import Dimension, RowContext
from assay_evaluators.sdk.types import Sample


@dataclass
class Source:
    """Rows and texts of one dimension.

    Attributes:
        dimension: The dimension.
        version: Parser version.
        prompts: Texts and phrase lists.
        pack: Rows; None if there are none.
        origin: Where they come from, for people.
        notes: What a reader had to assume, for people.
    """

    dimension: Dimension
    version: str
    prompts: Prompts
    pack: Pack | None
    origin: str
    notes: list[str] = field(default_factory=list)
    _samples: dict[str, list[tuple[Any, Sample]]] = field(default_factory=dict)

    def samples(self, scenario: str) -> list[tuple[Any, Sample]]:
        """Rows of a scenario with their samples, in the order of the data set; empty if none."""
        if scenario not in self._samples:
            self._samples[scenario] = self._load(scenario)
        return self._samples[scenario]

    def missing(self, scenario: str) -> str:
        """Why a scenario has no rows, or not all of them; empty if it has all."""
        if self.pack is None:
            return "no data pack and no checkout with a data folder"
        return self.pack.scenario(self.dimension.name, scenario).missing or ""

    def expected(self, scenario: str) -> int:
        """Rows of the full scenario as the pack knows it; 0 if it does not."""
        if self.pack is None:
            return 0
        entry = self.pack.scenario(self.dimension.name, scenario)
        return max(entry.rows_expected, entry.rows)

    def note(self, text: str) -> None:
        """Adds a note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def _load(self, scenario: str) -> list[tuple[Any, Sample]]:
        if self.pack is None:
            return []
        entry = self.pack.scenario(self.dimension.name, scenario)
        if entry.file is None:
            return []
        rows = self.pack.rows(entry.file, self.dimension.row_model_of(scenario))
        context = RowContext(self.pack, self.prompts, scenario, seed=0)
        return list(zip(rows, self.dimension.samples(rows, context), strict=True))


@contextmanager
def open_source(
    dimension: Dimension,
    version: str,
    pack_uri: str,
    folder: Path,
    folders: tuple[str, ...],
    *,
    needs_rows: bool,
) -> Iterator[Source]:
    """Opens a pack, else the checkout around a folder, else nothing but our own lists.

    Args:
        dimension: The dimension.
        version: Parser version.
        pack_uri: A data pack, or a checkout of DecodingTrust; empty: search.
        folder: Where the generations are.
        folders: Names of the dimension's folder in a checkout.
        needs_rows: Whether a checkout's rows are wanted, or its texts alone.

    Raises:
        AssayError: If the pack cannot be read.
    """
    if pack_uri and not _is_checkout(pack_uri):
        pack = Pack.open(pack_uri)
        yield Source(dimension, version, pack.prompts(), pack, pack_uri)
        return
    root = Path(pack_uri).expanduser() if pack_uri else _checkout_around(folder, folders)
    if root is None:
        yield Source(dimension, version, Prompts({}), None, "")
        return
    try:
        if not needs_rows:
            document, _ = Checkout(root).prompts((dimension.name,))
            yield Source(dimension, version, Prompts(document), None, str(root))
            return
        with tempfile.TemporaryDirectory(prefix="assay-score-") as temporary:
            out = Path(temporary) / "pack"
            import_decodingtrust(root, out, (dimension.name,))
            pack = Pack.open(str(out))
            yield Source(dimension, version, pack.prompts(), pack, str(root))
    except NotFound as error:
        if error.reason != "PROMPTS_NOT_FOUND":
            raise
        raise without_prompts(error) from None


def _is_checkout(uri: str) -> bool:
    """A folder with `data/` and no `pack.json` is a checkout."""
    if "://" in uri:
        return False
    folder = Path(uri).expanduser()
    return (folder / "data").is_dir() and not (folder / "pack.json").is_file()


def _checkout_around(folder: Path, folders: tuple[str, ...]) -> Path | None:
    # As the user names it, then with links followed: results often lie elsewhere.
    places = [folder.absolute(), folder.resolve()]
    for ancestor in (each for place in places for each in (place, *place.parents)):
        marks = [ancestor / "data" / name for name in folders]
        marks.append(ancestor / PROMPTS_FILE)
        known = any(mark.exists() for mark in marks) or has_program(ancestor)
        if (ancestor / "data").is_dir() and known:
            return ancestor
    return None


def without_prompts(error: AssayError) -> NotFound:
    """The error of phrase lists that neither a pack nor a checkout gives."""
    return NotFound(
        error.message,
        field="pack",
        reason="PROMPTS_NOT_FOUND",
        remedy="name a data pack with --pack (assay data import-decodingtrust)",
    )
