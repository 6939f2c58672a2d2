"""Prompts and phrase lists from program files of a user's own checkouts, in `prompts.json` form."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from assay_core.digest import digest_of
from assay_core.errors import NotFound
from assay_evaluators.packs.decodingtrust.entries import (
    AGREEMENT,
    CT,
    CT_CONVERSATION,
    CT_MMLU,
    DT,
    Entry,
    Key,
    Nth,
)
from assay_evaluators.packs.decodingtrust.program import MAX_SOURCE_BYTES, Module, SymbolError
from assay_evaluators.packs.decodingtrust.texts_table import CHAT, COMP_TRUST, DIMENSIONS

PROGRAM = "src/dt"
_META = {
    "schema": 1,
    "licence": "CC BY-SA 4.0, attribution DecodingTrust authors; chat templates originate from"
    " FastChat (Apache-2.0), mmlu and llama-2_* from decoding-comp-trust/comp-trust (MIT)",
    "source": "read from program files of a local checkout, without executing them",
}


@dataclass
class Extracted:
    """Texts of one or more checkouts.

    Attributes:
        document: In the form of `prompts.json`.
        variants: Variants whose texts are there.
        unverified: Dotted keys of texts that are not those of a published commit.
    """

    document: dict[str, Any]
    variants: tuple[str, ...]
    unverified: list[str] = field(default_factory=list)


def has_program(root: Path) -> bool:
    """Whether a folder holds program files that texts can be read from."""
    return (root / PROGRAM).is_dir() or _is_comp_trust(root)


def extract_texts(roots: Sequence[Path], dimensions: Collection[str]) -> Extracted:
    """Reads the texts of some dimensions.

    Args:
        roots: Checkouts of DecodingTrust (either repository) and of comp-trust; of a text that
            several have the first counts, unless it differs by version.
        dimensions: Dimensions whose texts are wanted, besides those of all.

    Raises:
        NotFound: Names file and symbol of the first text that is not where it should be.
    """
    result = Extracted({"meta": dict(_META)}, ())
    for root in roots:
        if (root / PROGRAM).is_dir():
            variant = _variant(root)
            result.variants = tuple(dict.fromkeys((*result.variants, variant)))
            entries = [*CHAT, *(e for name in DIMENSIONS if name in dimensions
                                for e in DIMENSIONS[name])]  # fmt: skip
        else:
            variant, entries = CT, list(COMP_TRUST)
        _read_all(root, variant, entries, result)
    return result


def _read_all(root: Path, variant: str, entries: Sequence[Entry], result: Extracted) -> None:
    files = _Files(root)
    for entry in entries:
        value = None
        if entry.only in ("", variant):
            value, verified = _find(files, entry, variant)
            if not verified:
                result.unverified.append(".".join(entry.path))
        _store(result.document, entry, variant, value)


def _find(files: _Files, entry: Entry, variant: str) -> tuple[Any, bool]:
    """The value, and whether it is that of the published commit."""
    known = published_digests().get("/".join(entry.path), {}).get(variant)
    try:
        if isinstance(entry.find, Key):
            value = files.key(entry.file, entry.find.name)
        elif isinstance(entry.find, Nth):
            value = _nth(files.module(entry.file), entry.find, variant, known)
        else:
            value = entry.find(files.module(entry.file), variant)
    except SymbolError as error:
        raise _missing(entry, str(error)) from None
    return value, digest_of(value) == known


def _nth(module: Module, place: Nth, variant: str, known: str | None) -> str:
    """The published text wherever the function has it, else what stands at its place."""
    function, number = place.place(variant)
    strings = module.strings(function)
    for text in strings:
        if digest_of(text) == known:
            return text
    if number > len(strings):
        raise SymbolError(f"{function}: string constant no. {number} of {len(strings)}")
    return strings[number - 1]


def _store(document: dict[str, Any], entry: Entry, variant: str, value: Any) -> None:
    *groups, name = entry.path
    for group in groups:
        document = document.setdefault(group, {})
    if entry.differs or entry.only:
        document.setdefault(name, {})[variant] = value
    else:
        document.setdefault(name, value)


class _Files:
    """Parsed files of one checkout, each read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._modules: dict[str, Module] = {}

    def module(self, file: str) -> Module:
        if file not in self._modules:
            self._modules[file] = Module(self._text(file))
        return self._modules[file]

    def key(self, file: str, name: str) -> Any:
        try:
            document = yaml.safe_load(self._text(file))
        except yaml.YAMLError:
            raise SymbolError("a YAML file") from None
        for value in _keys(document, name):
            return value
        raise SymbolError(f"key {name}")

    def _text(self, file: str) -> str:
        path = self._root / file
        if not path.is_file():
            raise SymbolError("the file")
        if path.stat().st_size > MAX_SOURCE_BYTES:
            raise SymbolError("a file of ordinary size")
        try:
            return path.read_text("utf-8")
        except UnicodeDecodeError:
            raise SymbolError("a UTF-8 file") from None


def _keys(document: Any, name: str) -> Iterator[Any]:
    if isinstance(document, dict):
        if name in document:
            yield document[name]
        for value in document.values():
            yield from _keys(value, name)


def _variant(root: Path) -> str:
    """The fork of comp-trust deletes echoed fragments before it looks for verdicts."""
    try:
        _Files(root).module(AGREEMENT).constant("GARBAGE_PHRASES")
    except SymbolError:
        return DT
    return CT


def _is_comp_trust(root: Path) -> bool:
    return (root / CT_CONVERSATION).is_file() or (root / CT_MMLU).is_file()


@cache
def published_digests() -> dict[str, dict[str, str]]:
    """Digests of the texts of the two published commits, by path and variant."""
    data = resources.files("assay_evaluators").joinpath("data", "decodingtrust-digests.json")
    document: dict[str, dict[str, str]] = json.loads(data.read_text("utf-8"))
    return document


def _missing(entry: Entry, symbol: str) -> NotFound:
    return NotFound(
        f"{entry.file} has no {symbol} ({'.'.join(entry.path)})"
        if symbol != "the file"
        else f"{entry.file} is not in the checkout ({'.'.join(entry.path)})",
        field=f"{entry.file}:{symbol}",
        reason="TEXT_NOT_FOUND",
        remedy="check out the published commit, or put a prompts.json beside data/",
        metadata={"file": entry.file, "symbol": symbol, "key": ".".join(entry.path)},
    )
