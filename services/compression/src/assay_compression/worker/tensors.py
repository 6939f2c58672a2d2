"""Reading and writing single tensors of safetensors files in place, by the header's offsets."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from assay_compression.checkpoint.safetensors_file import TensorEntry
from assay_core.digest import PREFIX

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I8": torch.int8,
    "I32": torch.int32,
    "I64": torch.int64,
}


def read_tensor(directory: Path, entry: TensorEntry) -> Tensor:
    """Reads a tensor into memory of its own.

    Raises:
        OSError: If the file ends early.
    """
    return torch.frombuffer(_read(directory, entry), dtype=DTYPES[entry.dtype]).reshape(entry.shape)


def write_tensor(directory: Path, entry: TensorEntry, tensor: Tensor) -> str:
    """Overwrites a tensor with one of the same type and shape; returns the digest of its bytes.

    Raises:
        ValueError: If type or shape differ.
    """
    if tensor.dtype != DTYPES[entry.dtype] or tuple(tensor.shape) != entry.shape:
        raise ValueError(f"{tensor.dtype} {tuple(tensor.shape)} does not fit {entry}")
    data = tensor.cpu().contiguous().view(torch.uint8).numpy().reshape(-1).data
    with (directory / entry.file).open("r+b") as stream:
        stream.seek(entry.start)
        stream.write(data)
    return PREFIX + hashlib.sha256(data).hexdigest()


def tensor_digest(directory: Path, entry: TensorEntry) -> str:
    """Digest of a tensor's bytes."""
    return PREFIX + hashlib.sha256(_read(directory, entry)).hexdigest()


def _read(directory: Path, entry: TensorEntry) -> bytearray:
    data = bytearray(entry.end - entry.start)
    with (directory / entry.file).open("rb") as stream:
        stream.seek(entry.start)
        if stream.readinto(data) != len(data):
            raise OSError(f"{entry.file} ended early")
    return data
