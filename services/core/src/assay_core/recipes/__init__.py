"""Recipes: a compression method with every parameter that changes the weights.

The form that people write is one key, the method, with its parameters: `{gptq: {bits: 3}}`;
`layout` and `include_embeddings` may stand beside it. Defaults are filled in at once, so two ways
of writing the same recipe are equal, have one canonical form and one variant key.
"""

from __future__ import annotations

from assay_core.digest import digest_of
from assay_core.recipes.calibration import Calibration
from assay_core.recipes.methods import (
    METHODS,
    AnyMethod,
    Awq,
    Dense,
    Gptq,
    Imported,
    Magnitude,
    Method,
    Noise,
    Rtn,
    SparseGpt,
    Wanda,
)
from assay_core.recipes.recipe import Recipe

__all__ = [
    "METHODS",
    "AnyMethod",
    "Awq",
    "Calibration",
    "Dense",
    "Gptq",
    "Imported",
    "Magnitude",
    "Method",
    "Noise",
    "Recipe",
    "Rtn",
    "SparseGpt",
    "Wanda",
    "variant_key",
]


def variant_key(model_digest: str, recipe: Recipe, calibration: Calibration) -> str:
    """Content identity of a variant, known before any work is done.

    Calibration is part of it only where the method looks at data: round-to-nearest with two
    seeds is one variant.
    """
    return digest_of(
        {
            "model": model_digest,
            "recipe": recipe.canonical(),
            "calibration": calibration.canonical() if recipe.needs_calibration else None,
        }
    )
