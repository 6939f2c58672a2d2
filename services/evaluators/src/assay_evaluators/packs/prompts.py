"""The literal texts of a pack, by dotted key: `chat.system_zero_shot`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any

from assay_core.digest import digest_of
from assay_core.errors import InvalidArgument
from assay_evaluators.packs.schema import PROMPTS_FILE

ASSAY_PARSER = "assay-2026"
LEGACY_PARSERS = ("ct-2024-02", "dt-2024-09")
_HOLE = "{}"
PARSER_VERSIONS = (ASSAY_PARSER, *LEGACY_PARSERS)


class Prompts:
    """Texts and phrase lists of a pack.

    A value that differs between parser versions is an object keyed by version. Lists of our own
    parser that a pack does not give come from the package (`data/assay-2026.json`), under the same
    keys.

    Args:
        document: The parsed `prompts.json`.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def text(self, key: str, version: str = ASSAY_PARSER) -> str:
        """A text.

        Raises:
            InvalidArgument: If the pack has none under `key`.
        """
        value = self._value(key, version)
        if not isinstance(value, str):
            raise _wrong(key, "must be a text")
        return value

    def texts(self, key: str, version: str = ASSAY_PARSER) -> tuple[str, ...]:
        """A list of texts.

        Raises:
            InvalidArgument: If the pack has none under `key`.
        """
        value = self._value(key, version)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise _wrong(key, "must be a list of texts")
        return tuple(value)

    def filled(self, key: str, *values: str) -> str:
        """A text with its `{}` filled in order; nothing else in it is special.

        Raises:
            InvalidArgument: If the pack has none under `key`, or one with another number of holes.
        """
        return fill_holes(key, self.text(key), *values)

    def messages(self, key: str, version: str = ASSAY_PARSER) -> tuple[tuple[str, str], ...]:
        """A fixed conversation: pairs of role and content.

        Raises:
            InvalidArgument: If the pack has none under `key`.
        """
        value = self._value(key, version)
        pairs = [_role_and_content(turn) for turn in value] if isinstance(value, list) else [None]
        turns = tuple(pair for pair in pairs if pair is not None)
        if len(turns) != len(pairs):
            raise _wrong(key, "must be a list of objects with role and content")
        return turns

    def numbers(self, key: str, version: str = ASSAY_PARSER) -> dict[str, int]:
        """Whole numbers by name, in the order of the pack.

        Raises:
            InvalidArgument: If the pack has none under `key`.
        """
        value = self._value(key, version)
        if not isinstance(value, dict) or not all(type(item) is int for item in value.values()):
            raise _wrong(key, "must be an object of whole numbers")
        return dict(value)

    def objects(self, key: str, version: str = ASSAY_PARSER) -> dict[str, Mapping[str, Any]]:
        """Objects by name, whatever the names hold.

        Raises:
            InvalidArgument: If the pack has none under `key`.
        """
        value = self._value(key, version)
        if not isinstance(value, dict) or not all(isinstance(v, Mapping) for v in value.values()):
            raise _wrong(key, "must be an object of objects")
        return dict(value)

    def table(self, key: str, version: str = ASSAY_PARSER) -> Prompts:
        """A group of texts under a key of one version, to be asked by its own keys.

        Raises:
            InvalidArgument: If the pack has none under `key`.
        """
        value = self._value(key, version)
        if not isinstance(value, dict):
            raise _wrong(key, "must be an object of texts")
        return Prompts(value)

    def digest(self, keys: Iterable[str], version: str = ASSAY_PARSER) -> str:
        """Digest of the values under some keys, as one version sees them."""
        return digest_of({key: self._value(key, version) for key in sorted(keys)})

    def _value(self, key: str, version: str) -> Any:
        # Ours takes the text of ct-2024-02 where only the originals have one (they differ there by
        # a typing error in dt-2024-09, the task line of OOD styles), else that of dt-2024-09.
        versions = (version, *LEGACY_PARSERS) if version == ASSAY_PARSER else (version,)
        for each in versions:
            for document in (self._document, _own_lists()):
                value = _find(document, key)
                if isinstance(value, dict) and set(value) & set(PARSER_VERSIONS):
                    value = value.get(each)
                if value is not None:
                    return value
        raise _wrong(key, f"is missing for parser {version}")


def fill_holes(key: str, text: str, *values: str) -> str:
    """A text of a pack with its `{}` filled in order.

    Not `str.format`: packs are uploaded, and `{0:>9999999999}` is a text like any other here.

    Raises:
        InvalidArgument: If the text has another number of holes.
    """
    parts = text.split(_HOLE)
    if len(parts) != len(values) + 1:
        raise _wrong(key, f"has {len(parts) - 1} places {_HOLE}, must have {len(values)}")
    return "".join(part + value for part, value in zip(parts, (*values, ""), strict=True))


@cache
def _own_lists() -> Mapping[str, Any]:
    file = resources.files("assay_evaluators").joinpath("data", "assay-2026.json")
    document: Mapping[str, Any] = json.loads(file.read_text("utf-8"))
    return document


def _find(document: Mapping[str, Any], key: str) -> Any:
    value: Any = document
    for part in key.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value


def _role_and_content(turn: Any) -> tuple[str, str] | None:
    if not isinstance(turn, Mapping) or set(turn) != {"role", "content"}:
        return None
    role, content = turn["role"], turn["content"]
    return (role, content) if isinstance(role, str) and isinstance(content, str) else None


def _wrong(key: str, problem: str) -> InvalidArgument:
    return InvalidArgument.of(
        f"{PROMPTS_FILE}:{key}",
        problem,
        reason="PACK_PROMPTS_INVALID",
        remedy="import the pack again, or add the key (docs: data pack schema)",
    )
