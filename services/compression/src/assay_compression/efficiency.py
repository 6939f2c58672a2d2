"""What a variant costs to keep and to run, counted from shapes. Never a measured speed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from assay_compression.checkpoint.inspect import Checkpoint
from assay_compression.checkpoint.safetensors_file import ELEMENT_BYTES, read_header


@dataclass(frozen=True)
class Efficiency:
    """Counted costs.

    Attributes:
        bits_per_weight: Mean bits of a compressed weight in packed form, scales and masks included.
        packed_bytes: Bytes of all weights in packed form.
        decode_bytes_per_token: Bytes of weights that one decode step reads, in packed form; of
            the embedding table one row, unless the output head shares it.
        flops_per_token: Two per parameter that a decode step multiplies with.
    """

    bits_per_weight: float
    packed_bytes: int
    decode_bytes_per_token: int
    flops_per_token: int


def quantized_bits(bits: int, group_size: int, *, symmetric: bool, scale_bits: float) -> float:
    """Bits per weight with one scale, and one zero point unless symmetric, per group."""
    return bits + (scale_bits + (0 if symmetric else bits)) / group_size


def pruned_bits(dense_bits: float, sparsity: float) -> float:
    """Bits per weight where only non-zeros are kept, next to a bitmap of one bit per weight."""
    return dense_bits * (1 - sparsity) + 1


def stored_bits(checkpoint: Checkpoint, files: Path) -> float:
    """Mean bits per weight of the same matrices in packed files, counted from their tensors."""
    linears = set(checkpoint.linears)
    tensors = [
        (name, entry)
        for file in sorted(files.glob("*.safetensors"))
        for name, entry in read_header(file).items()
    ]
    parts = (
        entry.end - entry.start
        for name, entry in tensors
        if name.rpartition(".")[0] in linears and not name.endswith(".bias")
    )
    elements = sum(checkpoint.matrix(module).elements for module in linears)
    return 8 * sum(parts) / elements


def dense_bits(checkpoint: Checkpoint, modules: tuple[str, ...]) -> float:
    """Mean bits per weight of the matrices that a recipe compresses, as the parent stores them."""
    entries = [checkpoint.matrix(module) for module in modules]
    stored = sum(8 * ELEMENT_BYTES[entry.dtype] * entry.elements for entry in entries)
    return stored / sum(entry.elements for entry in entries)


def count(checkpoint: Checkpoint, modules: tuple[str, ...], bits_per_weight: float) -> Efficiency:
    """Counts the costs of a variant whose compressed `modules` take `bits_per_weight`."""
    compressed = {f"{module}.weight" for module in modules}
    embedding = checkpoint.embedding
    elements = sum(checkpoint.tensors[name].elements for name in compressed)
    rest = sum(
        entry.end - entry.start
        for name, entry in checkpoint.tensors.items()
        if name not in compressed
    )
    packed = round(elements * bits_per_weight / 8) + rest
    tied = checkpoint.is_tied
    table_bytes = embedding.end - embedding.start
    if checkpoint.embedding_module in modules:
        table_bytes = round(embedding.elements * bits_per_weight / 8)
    row_bytes = table_bytes // max(1, embedding.shape[0])
    used = checkpoint.parameters - (0 if tied else embedding.elements)
    return Efficiency(
        bits_per_weight=bits_per_weight,
        packed_bytes=packed,
        decode_bytes_per_token=packed - (0 if tied else table_bytes) + row_bytes,
        flops_per_token=2 * used,
    )
