"""The form of every method: a function that compresses the matrices that see one input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from assay_compression.methods.grid import Quantized
from assay_compression.methods.inputs import InputStatistics
from assay_compression.methods.masks import BlockPattern
from assay_compression.methods.registry import BLOCKS


@dataclass(frozen=True)
class Context:
    """What a method may depend on beside its parameters.

    Attributes:
        seed: Seed of methods that draw.
        scale_dtype: Type in which a packed checkpoint stores scales.
    """

    seed: int
    scale_dtype: torch.dtype


@dataclass(frozen=True)
class Matrix:
    """One matrix to compress.

    Attributes:
        name: Full module name.
        weight: `[out, in]`, float32.
        seen: Statistics of its inputs; None for methods that use no data.
        may_scale: Whether what comes before it can take over a division of its input channels.
    """

    name: str
    weight: Tensor
    seen: InputStatistics | None
    may_scale: bool = False

    @property
    def inputs(self) -> InputStatistics:
        """Statistics of its inputs, for methods that declare that they need them.

        Raises:
            ValueError: If there are none.
        """
        if self.seen is None:
            raise ValueError(f"{self.name}: this method needs input statistics")
        return self.seen


@dataclass(frozen=True)
class Compressed:
    """A compressed matrix.

    Attributes:
        weight: `[out, in]`, float32.
        quantized: The same as integers, for methods that quantize.
        rounded_to_nearest: Whether GPTQ had to round because it could not invert.
    """

    weight: Tensor
    quantized: Quantized | None = None
    rounded_to_nearest: bool = False

    @classmethod
    def of(cls, quantized: Quantized, *, rounded_to_nearest: bool = False) -> Compressed:
        """A quantized matrix."""
        return cls(quantized.weight, quantized, rounded_to_nearest)


# Takes the matrices of one group, which see the same input, and compresses each.
Routine = Callable[[Sequence[Matrix]], list[Compressed]]


def one_by_one(run: Callable[[Matrix], Compressed]) -> Routine:
    """The routine of a method that looks at one matrix at a time."""
    return lambda matrices: [run(matrix) for matrix in matrices]


def blocks(pattern: str) -> BlockPattern | None:
    """The block pattern that a recipe names; None for unstructured."""
    return BlockPattern(*BLOCKS[pattern]) if pattern in BLOCKS else None
