"""The safetensors header: eight bytes of length, then JSON that says where every tensor lies.

Read here without a tensor library, so that the service checks a checkpoint in milliseconds, and
strictly: a hostile or truncated file is refused before any library maps it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay_compression.checkpoint.errors import damaged

ELEMENT_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1,
    "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4,
    "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip
_LENGTH_BYTES = 8
_HEADER_LIMIT = 100_000_000


@dataclass(frozen=True)
class TensorEntry:
    """Where one tensor lies.

    Attributes:
        file: Name of its file within the checkpoint.
        dtype: Element type as safetensors names it: `BF16`.
        shape: Dimensions.
        start: First byte, counted from the start of the file.
        end: Byte after the last.
    """

    file: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def read_header(path: Path) -> dict[str, TensorEntry]:
    """Reads and checks the header of a file.

    Raises:
        DataLoss: If the file is not whole: it names the file and what is wrong.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        if size < _LENGTH_BYTES or not 2 <= length <= min(_HEADER_LIMIT, size - _LENGTH_BYTES):
            raise damaged(path.name, "has no valid header length")
        try:
            header = json.loads(stream.read(length))
        except (ValueError, RecursionError) as error:
            raise damaged(path.name, "has a header that is not JSON") from error
    if not isinstance(header, dict):
        raise damaged(path.name, "has a header that is not a JSON object")
    data_start = _LENGTH_BYTES + length
    entries = {
        name: _entry(path, name, value, data_start)
        for name, value in header.items()
        if name != "__metadata__"
    }
    position = data_start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != position:
            raise damaged(path.name, f"has a gap or an overlap before tensor {name}")
        position = entry.end
    if position != size:
        raise damaged(path.name, f"has {size} bytes where its header describes {position}")
    return entries


def _entry(path: Path, name: str, value: Any, data_start: int) -> TensorEntry:
    try:
        dtype, shape = value["dtype"], tuple(value["shape"])
        start, end = value["data_offsets"]
    except (TypeError, KeyError, ValueError) as error:
        raise damaged(path.name, f"has a malformed entry for tensor {name}") from error
    numbers = (*shape, start, end)
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise damaged(path.name, f"has a malformed entry for tensor {name}")
    if not isinstance(dtype, str) or dtype not in ELEMENT_BYTES:
        raise damaged(path.name, f"has tensor {name} of an unknown type")
    if end - start != math.prod(shape) * ELEMENT_BYTES[dtype]:
        raise damaged(path.name, f"has offsets of tensor {name} that do not fit its shape")
    return TensorEntry(path.name, dtype, shape, data_start + start, data_start + end)
