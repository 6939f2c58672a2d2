"""How workflow inputs and outputs are stored: JSON, never pickle."""

from __future__ import annotations

import json
from typing import Any

from dbos import Serializer

from assay_core.errors import AssayError, from_document, to_document

_ERROR = "__assay_error__"
_FOREIGN = "__exception__"
_INPUTS = {"args", "kwargs"}  # of a workflow; the engine wants its tuple back


class ForeignError(Exception):
    """An exception read back from the workflow store, by type and text."""


class JsonSerializer(Serializer):
    """JSON values, and errors by their documents."""

    def name(self) -> str:
        """Stored beside every value, so that it is read by what wrote it."""
        return "assay_json_1"

    def serialize(self, data: Any) -> str:
        """Write a value.

        Raises:
            TypeError: If it is not JSON: steps and workflows pass ids and plain values only.
        """
        return json.dumps(data, default=_encode, separators=(",", ":"))

    def deserialize(self, serialized_data: str) -> Any:
        """Read a value; a stored error comes back as an exception."""
        return json.loads(serialized_data, object_hook=_decode)


def _encode(value: Any) -> Any:
    if isinstance(value, AssayError):
        return {_ERROR: to_document(value)}
    if isinstance(value, BaseException):
        return {_FOREIGN: type(value).__name__}
    raise TypeError(f"a workflow value of type {type(value).__name__} is not JSON")


def _decode(document: dict[str, Any]) -> Any:
    if _ERROR in document:
        return from_document(document[_ERROR])
    if _FOREIGN in document:
        return ForeignError(document[_FOREIGN])
    if document.keys() == _INPUTS:
        return {**document, "args": tuple(document["args"])}
    return document
