"""Paired statistics of a compressed variant against its reference: pure functions, no I/O.

The functions that compare bring scipy, statsmodels and polars, seconds of imports. They load at
their first use, so that the service answers, and takes up its studies, before that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assay_coordinator.statistics.comparing import compare, score_interval, with_holm

__all__ = ["compare", "score_interval", "with_holm"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.comparing"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
