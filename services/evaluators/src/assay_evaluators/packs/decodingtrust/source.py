"""Files of a DecodingTrust checkout, read as data and never executed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from assay_core.errors import DataLoss, InvalidArgument, NotFound
from assay_evaluators.packs.decodingtrust.extract import PROGRAM, extract_texts, has_program

PROMPTS_FILE = "prompts.json"
MAX_FILE_BYTES = 512 * 1024 * 1024


class Checkout:
    """A checkout, or a folder with its `data/` and a `prompts.json`.

    Args:
        root: The folder that holds `data/`.

    Raises:
        NotFound: If there is no `data/` in it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser()
        self.data = self.root / "data"
        if not self.data.is_dir():
            raise NotFound(
                f"{self.root.name or root} has no folder data/",
                field="checkout",
                reason="NOT_A_CHECKOUT",
                remedy="name the root of a DecodingTrust checkout",
            )

    def prompts(
        self, dimensions: Collection[str], also: Sequence[Path] = ()
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Prompts and phrase lists: a `prompts.json`, else read from program files.

        Args:
            dimensions: Dimensions whose texts are wanted.
            also: Further checkouts, for texts that differ by version or lie elsewhere.

        Returns:
            The document, and the keys of texts that are not those of a published commit.

        Raises:
            NotFound: If the folder has neither, or a text is not in its file.
            DataLoss: If `prompts.json` is not a JSON object.
        """
        path = self.root / PROMPTS_FILE
        if not path.is_file():
            if not has_program(self.root):
                raise NotFound(
                    f"the checkout has neither {PROMPTS_FILE} nor {PROGRAM}/",
                    field=PROMPTS_FILE,
                    reason="PROMPTS_NOT_FOUND",
                    remedy=f"name a whole checkout, or put a {PROMPTS_FILE} beside data/",
                )
            extracted = extract_texts([self.root, *also], dimensions)
            return extracted.document, tuple(extracted.unverified)
        try:
            document = json.loads(path.read_bytes())
        except ValueError as error:
            raise _damaged(PROMPTS_FILE, getattr(error, "lineno", 1), "is not JSON") from None
        if not isinstance(document, dict):
            raise _damaged(PROMPTS_FILE, 1, "must be an object")
        return document, ()

    def has(self, path: str) -> bool:
        """Whether a file below `data/` exists with content that is not a Git LFS pointer."""
        file = self.data / path
        return file.is_file() and not _is_lfs_pointer(file)

    def csv_records(self, path: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
        """Records of a CSV file; cells may hold line breaks.

        Raises:
            DataLoss: If a column is missing or a record has too few cells.
        """
        text = self._bytes(path).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        missing = set(columns) - set(reader.fieldnames or ())
        if missing:
            raise _damaged(path, 1, f"lacks the column {min(missing)}")
        records = []
        try:
            for record in reader:
                if any(record[column] is None for column in columns):
                    raise _damaged(path, reader.line_num, "has too few cells")
                records.append(record)
        except csv.Error:
            raise _damaged(path, reader.line_num, "is not CSV") from None
        return records

    def json_object(self, path: str) -> dict[str, Any]:
        """The object of a JSON file.

        Raises:
            DataLoss: If it is none.
        """
        try:
            document = json.loads(self._bytes(path))
        except ValueError as error:
            raise _damaged(path, getattr(error, "lineno", 1), "is not JSON") from None
        if not isinstance(document, dict):
            raise _damaged(path, 1, "is not an object")
        return document

    def json_lines(self, path: str) -> list[tuple[int, dict[str, Any]]]:
        """Objects of a JSON Lines file with their line numbers.

        Raises:
            DataLoss: Names file and line of what is no JSON object.
        """
        rows = []
        for number, line in enumerate(self._bytes(path).splitlines(), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError:
                raise _damaged(path, number, "is not JSON") from None
            if not isinstance(row, dict):
                raise _damaged(path, number, "is not an object")
            rows.append((number, row))
        return rows

    def array(self, path: str) -> list[Any]:
        """Values of a one-dimensional `.npy` file; pickled content is refused.

        Raises:
            DataLoss: If it is no such file.
        """
        try:
            array = np.load(io.BytesIO(self._bytes(path)), allow_pickle=False)
        except (ValueError, EOFError, OSError):
            raise _damaged(path, 1, "is not a plain .npy array (pickles are not read)") from None
        if array.ndim != 1:
            raise _damaged(path, 1, "must be one-dimensional")
        values: list[Any] = array.tolist()
        return values

    def _bytes(self, path: str) -> bytes:
        file = self.data / path
        if file.stat().st_size > MAX_FILE_BYTES:
            raise InvalidArgument.of(
                f"data/{path}", "is larger than any file of DecodingTrust", remedy="check the file"
            )
        return file.read_bytes()


def damaged_record(path: str, where: str, problem: str) -> DataLoss:
    """The error of a record inside one JSON document; `where` says which: `sst2[3]`."""
    return DataLoss(
        f"{path}: {where} {problem}",
        field=f"{path}:{where}",
        reason="SOURCE_FILE_DAMAGED",
        remedy="get the file again from where it came",
    )


def damaged_row(path: str, line: int, problem: str) -> DataLoss:
    """The error of a row that cannot be imported; names file and line."""
    return _damaged(path, line, problem)


def _damaged(path: str, line: int, problem: str) -> DataLoss:
    return DataLoss(
        f"{path}:{line}: {problem}",
        field=f"{path}:{line}",
        reason="SOURCE_FILE_DAMAGED",
        remedy="check the file out again from DecodingTrust",
    )


def _is_lfs_pointer(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(40).startswith(b"version https://git-lfs.github.com/")
