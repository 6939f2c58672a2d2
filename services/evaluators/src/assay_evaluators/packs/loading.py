"""Reading a pack: its manifest, its texts, its rows; everything checked before it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from assay_core.digest import digest_of, sha256_bytes
from assay_core.errors import AssayError, DataLoss, InvalidArgument, NotFound
from assay_core.storage import ObjectStore
from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.packs.schema import (
    MANIFEST_FILE,
    PROMPTS_FILE,
    PackManifest,
    Row,
    ScenarioEntry,
)

RowT = TypeVar("RowT", bound=Row)


class Pack:
    """An opened pack. Files are read when asked for, whole, and checked against the manifest.

    All methods block; call them from a worker thread in async code.
    """

    def __init__(self, store: ObjectStore, manifest: PackManifest, digest: str) -> None:
        self._store = store
        self.manifest = manifest
        self.digest = digest

    @classmethod
    def open(cls, uri: str, *, digest: str = "") -> Pack:
        """Opens a directory or URI.

        Args:
            uri: Directory path or fsspec URI.
            digest: Expected digest of the pack; empty means any.

        Raises:
            NotFound: If there is no `pack.json`.
            InvalidArgument: If `pack.json` is not of schema 1.
            DataLoss: If the digest is another one.
        """
        store = ObjectStore(uri, field="pack.uri")
        try:
            data = store.read_bytes(MANIFEST_FILE)
        except NotFound as error:
            if error.field:  # The bucket is not there, and the error says so.
                raise
            raise NotFound(
                f"no {MANIFEST_FILE} in the data pack",
                reason="PACK_NOT_FOUND",
                field="pack.uri",
                remedy="name the directory that holds pack.json",
            ) from error
        document = _parse_json(data, MANIFEST_FILE)
        try:
            manifest = PackManifest.model_validate(document)
        except ValidationError as error:
            raise _invalid(MANIFEST_FILE, error) from None
        actual = digest_of(document)
        if digest and digest != actual:
            raise DataLoss(
                "the pack is not the one asked for",
                reason="PACK_DIGEST_MISMATCH",
                field="pack.digest",
                remedy=f"leave pack.digest empty or set it to {actual}",
                metadata={"expected": digest, "actual": actual},
            )
        return cls(store, manifest, actual)

    def prompts(self) -> Prompts:
        """The pack's texts.

        Raises:
            DataLoss: If `prompts.json` is not what the manifest says.
        """
        data = self.read(PROMPTS_FILE)
        document = _parse_json(data, PROMPTS_FILE)
        if not isinstance(document, Mapping):
            raise InvalidArgument.of(PROMPTS_FILE, "must be an object of groups")
        return Prompts(document)

    def scenario(self, dimension: str, scenario: str) -> ScenarioEntry:
        """What the pack has of a scenario; a scenario it does not list is missing as a whole."""
        entry = self.manifest.dimensions.get(dimension)
        facts = entry.scenarios.get(scenario) if entry else None
        if facts is not None:
            return facts
        return ScenarioEntry(rows=0, rows_expected=0, missing="not in the data pack")

    def file_digest(self, path: str) -> str:
        """Digest of a file by the manifest.

        Raises:
            NotFound: If the pack has no such file.
        """
        entry = self.manifest.files.get(path)
        if entry is None:
            raise NotFound(f"the data pack has no {path}", reason="PACK_FILE_NOT_FOUND", field=path)
        return entry.digest

    def read(self, path: str) -> bytes:
        """A file, checked.

        Raises:
            NotFound: If the pack has no such file.
            DataLoss: If its bytes are not what the manifest says.
        """
        data = self._store.read_bytes(path)
        self._check(path, data)
        return data

    def rows(self, path: str, model: type[RowT]) -> tuple[RowT, ...]:
        """The rows of a JSON Lines file.

        A broken row is named by file and line even where the digest is wrong as well: who edits a
        pack wants to know the row.

        Raises:
            InvalidArgument: Names file and line of the first broken row.
            DataLoss: If the file is not what the manifest says.
        """
        self.file_digest(path)
        data = self._store.read_bytes(path)
        rows = parse_rows(data, path, model)
        self._check(path, data)
        expected = self.manifest.files[path].rows
        if expected is not None and expected != len(rows):
            raise InvalidArgument.of(
                path,
                f"has {len(rows)} rows, pack.json says {expected}",
                reason="PACK_ROWS_MISCOUNTED",
                remedy="write pack.json again with the right count",
            )
        return rows

    def verify(self) -> None:
        """Reads every file and checks its digest.

        Raises:
            NotFound: If a file is missing.
            DataLoss: Names the first file that differs.
        """
        for path in self.manifest.files:
            self.read(path)

    def _check(self, path: str, data: bytes) -> None:
        expected = self.file_digest(path)
        actual = sha256_bytes(data)
        if actual != expected:
            raise DataLoss(
                f"{path} is not what pack.json says",
                reason="PACK_FILE_DAMAGED",
                field=path,
                remedy="restore the file, or write pack.json again if the change is meant",
                metadata={"file": path, "expected": expected, "actual": actual},
            )


def parse_rows(data: bytes, path: str, model: type[RowT]) -> tuple[RowT, ...]:
    """Parses JSON Lines into rows; blank lines are skipped.

    Raises:
        InvalidArgument: Names file and line of the first row that is no JSON object, misses or has
            a wrong field, or repeats an id. Never shows a value.
    """
    rows: list[RowT] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = model.model_validate_json(line)
        except ValidationError as error:
            raise _invalid(f"{path}:{number}", error) from None
        if row.id in seen:
            raise _broken(f"{path}:{number}", f"repeats the id of line {seen[row.id]}")
        seen[row.id] = number
        rows.append(row)
    return tuple(rows)


def _parse_json(data: bytes, path: str) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        raise _broken(f"{path}:{line}", "is not JSON") from None


def _invalid(where: str, error: ValidationError) -> AssayError:
    problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in problem["loc"])
    text = problem["msg"].removeprefix("Value error, ")
    return _broken(where, f"field {field}: {text}" if field else text)


def _broken(where: str, problem: str) -> InvalidArgument:
    return InvalidArgument(
        f"{where}: {problem}",
        field=where,
        reason="PACK_ROW_INVALID",
        remedy="correct the file and write its digest into pack.json",
    )
