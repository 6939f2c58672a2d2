"""Files of a results folder, read as data: nothing is executed, nothing is unpickled."""

from __future__ import annotations

import ast
import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assay_core.errors import NotFound

MAX_FILE_BYTES = 2 * 1024**3
MAX_CELL_CHARACTERS = 128 * 1024
_LFS = b"version https://git-lfs.github.com/"


class UnreadableError(Exception):
    """A file is not what its name says; the text tells why, without its content."""


class Tree:
    """The files below one folder.

    Args:
        base: Folder that paths are relative to.
        walk: Folder below it whose files are listed; default: `base`.
    """

    def __init__(self, base: Path, walk: Path | None = None) -> None:
        self.base = base
        self._walk = walk or base

    def paths(self) -> list[str]:
        """Files, sorted, relative to `base`, with `/`. Links to folders are not followed."""
        found = []
        for folder, _, names in os.walk(self._walk):
            for name in names:
                path = Path(folder, name)
                if path.is_file():
                    found.append(path.relative_to(self.base).as_posix())
        return sorted(found)

    def json_document(self, path: str) -> Any:
        """A file as one JSON document.

        Raises:
            UnreadableError: If it is none.
        """
        try:
            return json.loads(self._bytes(path))
        except (ValueError, RecursionError):
            raise UnreadableError("is not one JSON document") from None

    def json_records(self, path: str) -> list[Any]:
        """Records of a file that is one JSON document or JSON Lines, whatever its name says.

        One document is tried first; a list is its records, an object is one record. A line that is
        no JSON is the record None.
        """
        data = self._bytes(path)
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            return [_json_or_none(line) for line in data.splitlines() if line.strip()]
        return document if isinstance(document, list) else [document]

    def csv_records(self, path: str) -> Iterator[dict[str, str]]:
        """Records of a CSV file; cells may hold line breaks.

        Raises:
            UnreadableError: If it is no CSV, or a cell is larger than any of DecodingTrust.
        """
        self._check(path)
        with (self.base / path).open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            try:
                for record in reader:
                    yield {k: v for k, v in record.items() if isinstance(v, str) and k is not None}
            except (csv.Error, UnicodeDecodeError):
                raise UnreadableError(f"is not CSV near line {reader.line_num}") from None

    def _bytes(self, path: str) -> bytes:
        self._check(path)
        return (self.base / path).read_bytes()

    def _check(self, path: str) -> None:
        file = self.base / path
        if file.stat().st_size > MAX_FILE_BYTES:
            raise UnreadableError("is larger than any file of DecodingTrust")
        with file.open("rb") as stream:
            if stream.read(len(_LFS)) == _LFS:
                raise UnreadableError("is a Git LFS pointer, not the file")


def literal_cell(text: str) -> Any:
    """The value of a cell that holds the text of a Python literal; nothing is evaluated.

    Raises:
        UnreadableError: If it is no literal, or too long.
    """
    if len(text) > MAX_CELL_CHARACTERS:
        raise UnreadableError("holds a cell that is larger than any that DecodingTrust writes")
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        raise UnreadableError("holds a cell that is no Python literal") from None


def trees(path: Path, names: tuple[str, ...]) -> list[Tree]:
    """The folders of a dimension in a checkout, its `data/` or `results/`, or a folder of it.

    Args:
        path: What the user names.
        names: Names of the dimension's folder.

    Raises:
        NotFound: If `path` is no folder.
    """
    if not path.is_dir():
        raise NotFound(
            f"{path.name or path} is no folder",
            field="generations",
            reason="GENERATIONS_NOT_FOUND",
            remedy="name a checkout, its data or results folder, or a folder of one dimension",
        )
    path = path.resolve()
    bases = [path / parent / name for parent in ("results", "data", "") for name in names]
    found = [_tree(base) for base in bases if base.is_dir()]
    if found:
        return [tree for tree in found if tree is not None]
    for ancestor in (path, *path.parents):
        if ancestor.name in names:
            if ancestor == path:
                tree = _tree(path)
                return [tree] if tree is not None else []
            return [Tree(ancestor, path)]
    return [Tree(path)]


def _tree(base: Path) -> Tree | None:
    """In a `data` folder only `generations/` holds generations; the rest is the data set."""
    if base.parent.name != "data":
        return Tree(base)
    generations = base / "generations"
    return Tree(base, generations) if generations.is_dir() else None


def _json_or_none(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
