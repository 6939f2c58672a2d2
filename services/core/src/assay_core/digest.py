"""Content digests: `sha256:<64 hex>` strings and the canonical JSON they are taken over."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from assay_core.errors import InvalidArgument

PREFIX = "sha256:"
_PATTERN = re.compile(r"sha256:[0-9a-f]{64}")


def sha256_bytes(data: bytes) -> str:
    """Digest of bytes in memory."""
    return PREFIX + hashlib.sha256(data).hexdigest()


def sha256_file(path: Path | str) -> str:
    """Digest of a file, read in blocks; a file of any size needs constant memory."""
    with Path(path).open("rb") as stream:
        return PREFIX + hashlib.file_digest(stream, "sha256").hexdigest()


def canonical_json(value: Any) -> bytes:
    """One byte string per JSON value: sorted keys, no spaces, UTF-8, no NaN or infinity.

    Floats print in Python's shortest round-trip form, so equal doubles give equal bytes.

    Raises:
        ValueError: If the value holds NaN or an infinity, which JSON does not have.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode("utf-8")


def digest_of(value: Any) -> str:
    """Digest of a JSON value's canonical form."""
    return sha256_bytes(canonical_json(value))


def seed_of(value: Any) -> int:
    """A seed that a JSON value decides: the first 48 bits of its digest."""
    return int(hex_of(digest_of(value))[:12], 16)


def is_digest(text: str) -> bool:
    """Whether `text` is a digest string."""
    return _PATTERN.fullmatch(text) is not None


def hex_of(digest: str) -> str:
    """The 64 hex characters of a digest, as object-store folders are named.

    Raises:
        InvalidArgument: If `digest` is not `sha256:` and 64 lower-case hex characters.
    """
    if not is_digest(digest):
        raise InvalidArgument.of(
            "digest", "is not of the form sha256:<64 hex>", remedy="pass the digest as reported"
        )
    return digest.removeprefix(PREFIX)
