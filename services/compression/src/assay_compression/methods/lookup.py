"""Compressing a token embedding, which is looked up and not multiplied.

Its input is a one-hot vector, whose second moments are diagonal: an error in one weight cannot be
made good by another, and no channel can be scaled. What is left of GPTQ and of AWQ is rounding to
nearest on the grid of each; round-to-nearest and magnitude pruning look at no input anyway.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from dataclasses import replace

from assay_compression.methods.registry import BACKENDS
from assay_compression.methods.routine import Compressed, Context, Matrix, Routine
from assay_compression.methods.rtn import routine as rtn_routine
from assay_core.recipes import AnyMethod, Gptq, Rtn


def routine(method: AnyMethod, context: Context) -> Routine:
    """The recipe's routine for an embedding; its groups and blocks run along a token's vector."""
    if isinstance(method, Gptq):
        grid = Rtn(bits=method.bits, group_size=method.group_size, symmetric=method.symmetric)
        return _marked(rtn_routine(grid, context))
    own: Routine = pkgutil.resolve_name(f"{BACKENDS[method.name].module}:routine")(method, context)
    return own


def _marked(rounding: Routine) -> Routine:
    def run(matrices: Sequence[Matrix]) -> list[Compressed]:
        return [replace(each, rounded_to_nearest=True) for each in rounding(matrices)]

    return run
