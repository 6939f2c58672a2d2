"""Which rows a bounded evaluation takes: a stratified draw that depends on the rows alone.

Every subject gets the same rows, a smaller limit takes a subset of a larger one (so that a study
can be extended), and rows of one cluster are taken together across scenarios as far as the strata
allow, because the order inside a stratum comes from the cluster id.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from assay_evaluators.packs.schema import Row

RowT = TypeVar("RowT", bound=Row)


def select_rows(
    rows: Sequence[RowT], limit: int, stratum: Callable[[RowT], Hashable]
) -> tuple[RowT, ...]:
    """Takes at most `limit` rows, each stratum in proportion; pack order is kept.

    The k-th of m rows of a stratum has priority (k + 1/2) / m; the `limit` rows of highest
    priority are taken, ties by a digest of the cluster id.

    Args:
        rows: All rows of a scenario.
        limit: Most rows; 0 means all.
        stratum: Stratum of a row, for example (group, label).
    """
    if not limit or limit >= len(rows):
        return tuple(rows)
    strata: dict[Hashable, list[int]] = defaultdict(list)
    for position, row in enumerate(rows):
        strata[stratum(row)].append(position)
    priority: list[tuple[float, bytes, int]] = []
    for positions in strata.values():
        positions.sort(key=lambda position: _order(rows[position]))
        for rank, position in enumerate(positions):
            share = (rank + 0.5) / len(positions)
            priority.append((share, _order(rows[position]), position))
    taken = sorted(position for _, _, position in sorted(priority)[:limit])
    return tuple(rows[position] for position in taken)


def _order(row: Row) -> bytes:
    return hashlib.sha256(f"{row.cluster_id}\0{row.id}".encode()).digest()
