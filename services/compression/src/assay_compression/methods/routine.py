"""The form of every method: a function that compresses one matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from assay_compression.methods.inputs import InputStatistics
from assay_compression.methods.masks import BlockPattern
from assay_compression.methods.registry import BLOCKS


@dataclass(frozen=True)
class Context:
    """What a method may depend on beside its parameters.

    Attributes:
        seed: Seed of methods that draw.
        scale_dtype: Type in which a packed checkpoint would store scales: the parent's.
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
    """

    name: str
    weight: Tensor
    seen: InputStatistics | None

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
    """A compressed matrix, float32, and whether GPTQ had to round because it could not invert."""

    weight: Tensor
    rounded_to_nearest: bool = False


Routine = Callable[[Matrix], Compressed]


def blocks(pattern: str) -> BlockPattern | None:
    """The block pattern that a recipe names; None for unstructured."""
    return BlockPattern(*BLOCKS[pattern]) if pattern in BLOCKS else None
