"""Paired statistics of a compressed variant against its reference: pure functions, no I/O.

The functions that compare bring scipy, statsmodels and polars, seconds of imports. They load at
their first use, so that the service answers, and takes up its studies, before that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay_coordinator.statistics.comparing import compare, score_interval
    from assay_coordinator.statistics.correction import corrected
    from assay_coordinator.statistics.flips import find_flips
    from assay_coordinator.statistics.recipes import compare_recipe

__all__ = ["compare", "compare_recipe", "corrected", "find_flips", "score_interval"]

_MODULES = {
    "compare": "comparing",
    "compare_recipe": "recipes",
    "corrected": "correction",
    "find_flips": "flips",
    "score_interval": "comparing",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
