"""One pass over a checkpoint's bytes: a digest per file, and no weight that is not a number.

The outcome is kept by path, size and modification time, so that the second request for the same
checkpoint costs a few stat calls.
"""

from __future__ import annotations

import mmap
import os
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from threading import Lock

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from assay_compression.checkpoint.errors import MODEL_FIELD
from assay_compression.checkpoint.folder import Folder
from assay_compression.checkpoint.inspect import Checkpoint
from assay_compression.checkpoint.safetensors_file import TensorEntry, read_header
from assay_core.digest import digest_of, hex_of, sha256_bytes, sha256_file
from assay_core.errors import FailedPrecondition

# A float is NaN or infinite when all bits of its exponent are set; these are those bits.
_EXPONENTS: dict[str, tuple[type[np.unsignedinteger], int]] = {
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
    "F32": (np.uint32, 0x7F800000),
    "F64": (np.uint64, 0x7FF0000000000000),
}
_CHUNK = 1 << 24


class FileFacts(BaseModel):
    """What is known of a file's content, and the stat that it was known for.

    Attributes:
        digest: Digest of the bytes.
        size: Bytes.
        modified_ns: Modification time.
        not_finite: First tensor with a NaN or an infinity.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    digest: str
    size: int
    modified_ns: int
    not_finite: str | None = None

    def is_current(self, path: Path) -> bool:
        """Whether the file still looks as it did."""
        stat = path.stat()
        return (stat.st_size, stat.st_mtime_ns) == (self.size, self.modified_ns)


class Scanner:
    """Scans files, and remembers what it found in a directory of small JSON files."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._guard = Lock()
        self._locks: defaultdict[Path, Lock] = defaultdict(Lock)

    def scan(self, checkpoint: Checkpoint | Folder) -> dict[str, FileFacts]:
        """Facts of every file of a checkpoint, by name. Blocks while it reads what is new.

        Raises:
            FailedPrecondition: If a weight is NaN or infinite: names the tensor.
        """
        facts = {name: self._facts(checkpoint.path / name, name) for name in checkpoint.files}
        for name, fact in facts.items():
            if fact.not_finite is not None:
                raise FailedPrecondition(
                    f"tensor {fact.not_finite} in {name} holds NaN or infinity",
                    field=MODEL_FIELD,
                    reason="WEIGHTS_NOT_FINITE",
                    remedy="repair or download the checkpoint again; such weights cannot be used",
                    metadata={"file": name, "tensor": fact.not_finite},
                )
        return facts

    def digest_file(self, path: Path) -> FileFacts:
        """Facts of a file that is no checkpoint's, such as calibration text."""
        return self._facts(path, "")

    def _facts(self, path: Path, name: str) -> FileFacts:
        record = self._cache / f"{hex_of(sha256_bytes(str(path.resolve()).encode()))}.json"
        with self._guard:
            lock = self._locks[record]
        # Two requests for one large checkpoint must not read it twice.
        with lock:
            known = _read(record)
            if known is not None and known.is_current(path):
                return known
            stat = path.stat()
            bad = first_not_finite(path) if name.endswith(".safetensors") else None
            facts = FileFacts(
                digest=sha256_file(path),
                size=stat.st_size,
                modified_ns=stat.st_mtime_ns,
                not_finite=bad,
            )
            if facts.is_current(path):
                _write(record, facts)
            return facts


def model_digest(facts: dict[str, FileFacts]) -> str:
    """Content digest of a checkpoint: of its files' names and digests."""
    return digest_of({name: fact.digest for name, fact in facts.items()})


def first_not_finite(path: Path) -> str | None:
    """Name of the first tensor of a file with a NaN or an infinity."""
    entries = sorted(read_header(path).items(), key=lambda item: item[1].start)
    if path.stat().st_size == 0 or not entries:
        return None
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for name, entry in entries:
            if entry.dtype in _EXPONENTS and not _is_finite(data, entry):
                return name
    return None


def _is_finite(data: mmap.mmap, entry: TensorEntry) -> bool:
    kind, exponent = _EXPONENTS[entry.dtype]
    mask = kind(exponent)
    for start in range(entry.start, entry.end, _CHUNK):
        block = np.frombuffer(data[start : min(start + _CHUNK, entry.end)], dtype=kind)
        if bool(np.any((block & mask) == mask)):
            return False
    return True


def _read(record: Path) -> FileFacts | None:
    try:
        return FileFacts.model_validate_json(record.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _write(record: Path, facts: FileFacts) -> None:
    partial = record.with_suffix(f".{os.getpid()}.partial")
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(facts.model_dump_json())
        partial.replace(record)
    except OSError:
        # What is not kept is read again: a full disk must not fail what was read.
        with suppress(OSError):
            partial.unlink(missing_ok=True)
