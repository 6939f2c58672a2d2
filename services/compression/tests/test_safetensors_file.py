"""The header of a safetensors file is either sound or refused with the file's name."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay_compression.checkpoint.safetensors_file import read_header
from assay_core.errors import DataLoss


def file_of(path: Path, header: object, data: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(shape, start, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_sound_file_gives_absolute_offsets(tmp_path):
    path = file_of(tmp_path / "m.safetensors", {"a": entry([2], 0, 8)}, bytes(8))
    found = read_header(path)["a"]
    assert (found.file, found.shape, found.elements) == ("m.safetensors", (2,), 2)
    assert found.end == path.stat().st_size
    assert found.end - found.start == 8


def test_what_the_library_writes_is_read_back(checkpoint):
    from safetensors import safe_open

    path = checkpoint / "model.safetensors"
    with safe_open(str(path), framework="numpy") as library:
        expected = {name: tuple(library.get_slice(name).get_shape()) for name in library.keys()}  # noqa: SIM118 - not a dict
    assert {name: entry.shape for name, entry in read_header(path).items()} == expected


@pytest.mark.parametrize(
    ("header", "data", "problem"),
    [
        ({"a": entry([2], 0, 8)}, bytes(4), "bytes where its header describes"),
        ({"a": entry([2], 0, 8)}, bytes(12), "bytes where its header describes"),
        ({"a": entry([3], 0, 8)}, bytes(8), "do not fit its shape"),
        ({"a": entry([2], 4, 12)}, bytes(12), "gap or an overlap before tensor a"),
        ({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, bytes(12), "overlap before tensor b"),
        ({"a": entry([2], 0, 8, "F7")}, bytes(8), "unknown type"),
        ({"a": entry([-2], 0, 8)}, bytes(8), "malformed entry"),
        ({"a": entry([2], 0, 8.0)}, bytes(8), "malformed entry"),
        ({"a": entry([True], 0, 4)}, bytes(4), "malformed entry"),
        ({"a": {"dtype": "F32"}}, b"", "malformed entry"),
        ({"a": 3}, b"", "malformed entry"),
        ({"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}, bytes(4), "unknown type"),
        ([1], b"", "not a JSON object"),
    ],
)
def test_broken_file_is_refused(tmp_path, header, data, problem):
    path = file_of(tmp_path / "bad.safetensors", header, data)
    with pytest.raises(DataLoss, match=problem) as caught:
        read_header(path)
    assert caught.value.metadata == {"file": "bad.safetensors"}
    assert caught.value.remedy


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "m.safetensors"
    path.write_bytes(data)
    try:
        read_header(path)
    except DataLoss as error:
        assert error.metadata["file"] == "m.safetensors"


def test_huge_header_length_is_refused_without_reading_it(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(DataLoss, match="no valid header length"):
        read_header(path)
