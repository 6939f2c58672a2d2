"""Writing a pack: rows and texts in, a directory with a manifest out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assay_core.digest import digest_of, sha256_bytes
from assay_core.errors import AlreadyExists
from assay_evaluators.packs.schema import (
    MANIFEST_FILE,
    PROMPTS_FILE,
    FileEntry,
    PackManifest,
    Row,
    ScenarioEntry,
)


class PackWriter:
    """Collects the files of a pack in a new directory; `finish` writes the manifest.

    The files lie in a hidden directory beside `out` until `finish` renames it, so that a failed
    import leaves nothing that looks like a pack.

    Args:
        out: Directory to create.

    Raises:
        AlreadyExists: If `out` exists and is not an empty directory.
    """

    def __init__(self, out: Path) -> None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise AlreadyExists(
                f"{out.name} exists and is not empty",
                field="out",
                reason="PACK_EXISTS",
                remedy="name a new directory, or remove that one",
            )
        self._out = out
        self._partial = out.with_name(f".{out.name}.partial")
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        self._files: dict[str, FileEntry] = {}
        self._scenarios: dict[str, dict[str, ScenarioEntry]] = {}

    def add_prompts(self, document: Mapping[str, Any]) -> None:
        """Writes `prompts.json`."""
        text = json.dumps(document, ensure_ascii=False, indent=1)
        self._write(PROMPTS_FILE, text.encode(), None)

    def add_rows(self, path: str, rows: Sequence[Row]) -> None:
        """Writes a JSON Lines file."""
        lines = (json.dumps(row.model_dump(), ensure_ascii=False) + "\n" for row in rows)
        self._write(path, "".join(lines).encode(), len(rows))

    def add_file(self, path: str, data: bytes, rows: int | None) -> None:
        """Writes a file of another pack as it is."""
        self._write(path, data, rows)

    def add_scenario(self, dimension: str, scenario: str, entry: ScenarioEntry) -> None:
        """Notes what the pack has of a scenario."""
        self._scenarios.setdefault(dimension, {})[scenario] = entry

    def finish(self, **facts: str) -> str:
        """Writes `pack.json`, makes the directory appear, and returns the pack's digest.

        Args:
            facts: name, version, licence, attribution, display, source.
        """
        manifest = PackManifest.model_validate(
            {
                "schema": 1,
                **facts,
                "files": self._files,
                "dimensions": {
                    name: {"scenarios": entries} for name, entries in self._scenarios.items()
                },
            }
        )
        document = manifest.model_dump(mode="json", by_alias=True)
        text = json.dumps(document, ensure_ascii=False, indent=1)
        (self._partial / MANIFEST_FILE).write_text(text, "utf-8")
        if self._out.exists():
            self._out.rmdir()
        self._partial.rename(self._out)
        return digest_of(document)

    def discard(self) -> None:
        """Removes what was written."""
        shutil.rmtree(self._partial, ignore_errors=True)

    def _write(self, path: str, data: bytes, rows: int | None) -> None:
        target = self._partial / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        self._files[path] = FileEntry(digest=sha256_bytes(data), bytes=len(data), rows=rows)
