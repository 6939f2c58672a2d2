"""Verdict shards as frames and tables, and what a formula needs of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import polars as pl

from assay_coordinator.statistics.formulas import has_disparity
from assay_coordinator.statistics.pairing import strata_of_clusters
from assay_coordinator.statistics.resampling import Ints
from assay_core.aggregation import Expr, Table, evaluate


def frame_of(verdicts: Any) -> pl.DataFrame:
    """A verdict shard (pyarrow, schema v1) as a frame."""
    return pl.DataFrame(verdicts)


def table_of(frame: pl.DataFrame, clusters: tuple[str, ...]) -> Table:
    """The table that formulas are evaluated on, its clusters in a given order."""
    # The oldest level has plain string columns, which pyarrow can dictionary-encode.
    return Table.from_arrow(frame.to_arrow(compat_level=pl.CompatLevel.oldest()), clusters)


def value_of(formula: Expr, table: Table) -> float | None:
    """Value of a formula; None if it has none."""
    value = float(evaluate(formula, table)[0])
    return value if math.isfinite(value) else None


def strata_for(formula: Expr, frame: pl.DataFrame, clusters: Sequence[str]) -> Ints | None:
    """Strata of the draw: group x label for differences between groups, else none."""
    return strata_of_clusters(frame, list(clusters)) if has_disparity(formula) else None
