"""Calibration text: reading it, checking it, and drawing sequences of tokens from it.

A source is a plain text file, or JSON lines with a `text` each. All documents are joined to one
stream of tokens, and sequences of one length are drawn from it at random offsets, as the GPTQ paper
draws its segments.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from assay_core.errors import FailedPrecondition, InvalidArgument

_FIELD = "calibration.source"
SIZE_LIMIT = 256 << 20


def read_documents(path: Path) -> list[str]:
    """Reads the documents of a text or JSONL file.

    Raises:
        InvalidArgument: If it is empty, too large or not UTF-8, or a line is not `{"text": ...}`:
            names the file and the line, never its content.
    """
    if path.stat().st_size > SIZE_LIMIT:
        raise _refused(path, f"has more than {SIZE_LIMIT >> 20} MiB", "pass an excerpt")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise _refused(path, "is not UTF-8 text", "convert it to UTF-8") from None
    if path.suffix in (".jsonl", ".json"):
        documents = [_document(path, i, row) for i, row in enumerate(text.splitlines(), 1) if row]
    else:
        documents = [text]
    if not any(document.strip() for document in documents):
        raise _refused(path, "has no text", "pass a file with text")
    return documents


def draw_offsets(stream_length: int, *, samples: int, length: int, seed: int) -> list[int]:
    """Draws where in the token stream each sequence starts; the same seed draws the same.

    Raises:
        FailedPrecondition: If the stream is shorter than one sequence.
    """
    if stream_length < length:
        raise FailedPrecondition.of(
            _FIELD,
            f"has {stream_length} tokens, fewer than one sequence of {length}",
            reason="CALIBRATION_TOO_SHORT",
            remedy="pass more text or a smaller calibration.sequence_length",
        )
    generator = random.Random(seed)  # noqa: S311 - a reproducible draw, not a secret
    return [generator.randint(0, stream_length - length) for _ in range(samples)]


def _document(path: Path, number: int, row: str) -> str:
    try:
        value = json.loads(row)
    except (ValueError, RecursionError):
        value = None
    text = value.get("text") if isinstance(value, dict) else None
    if not isinstance(text, str):
        raise _refused(
            path, f'line {number} is not an object with a string "text"', "repair the line"
        )
    return text


def _refused(path: Path, problem: str, remedy: str) -> InvalidArgument:
    return InvalidArgument(
        f"calibration file {path.name} {problem}",
        field=_FIELD,
        remedy=remedy,
        reason="BAD_CALIBRATION",
        metadata={"file": path.name},
    )
