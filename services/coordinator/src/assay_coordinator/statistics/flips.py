"""Which completions changed between a variant and its reference, and how; no text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from heapq import nsmallest
from itertools import zip_longest
from typing import Any

import polars as pl

from assay_coordinator.domain.flips import FLIP_KINDS, Flip, FlipGroup, FlipKind
from assay_coordinator.statistics.formulas import directions
from assay_coordinator.statistics.pairing import pair
from assay_coordinator.statistics.request import Names
from assay_coordinator.statistics.shifts import changed_completions
from assay_coordinator.statistics.tables import frame_of
from assay_core.aggregation import Expr, scenarios_of
from assay_core.digest import digest_of
from assay_core.verdicts import Verdict

# Scenario, sample, completion, then verdict and value of the variant and of the reference.
_Row = tuple[str, str, int, str, float | None, str, float | None]
# Class without an answer -> what it is called when it begins and when it ends.
_SILENCES: dict[Verdict, tuple[FlipKind, FlipKind]] = {
    Verdict.REFUSED: ("refused", "no longer refused"),
    Verdict.UNPARSABLE: ("unparsable", "no longer unparsable"),
    Verdict.OVERLENGTH: ("changed", "changed"),
}


def find_flips(names: Names, formula: Expr, variant: Any, reference: Any, most: int) -> FlipGroup:
    """The completions whose verdict or value differs between two verdict shards.

    Args:
        names: What is compared.
        formula: Score formula; says of each scenario whether a larger value is better.
        variant: Verdicts of the variant (pyarrow table, schema v1).
        reference: Verdicts of the reference.
        most: Most flips that are listed; each kind gets its turn, inside a kind they come in the
            order of a digest, so that no scenario comes first and a rerun lists the same.
    """
    used = pl.col("scenario").is_in(scenarios_of(formula))
    pairs = pair(frame_of(variant).filter(used), frame_of(reference).filter(used))
    changed, compared = changed_completions(pairs)
    better = directions(formula)
    rows: dict[FlipKind, list[_Row]] = defaultdict(list)
    for row in changed.iter_rows():
        scenario, _, _, ours, our_value, theirs, their_value = row
        sides = (Verdict(ours), our_value), (Verdict(theirs), their_value)
        rows[kind_of(*sides, better[scenario])].append(row)
    return FlipGroup(
        variant_key=names.variant_key,
        reference_key=names.reference_key,
        dimension=names.dimension,
        compared=compared,
        counts={kind: len(rows[kind]) for kind in FLIP_KINDS if rows[kind]},
        flips=_in_turns({kind: rows[kind] for kind in FLIP_KINDS}, most),
    )


def kind_of(
    ours: tuple[Verdict, float | None], theirs: tuple[Verdict, float | None], better: int
) -> FlipKind:
    """How a completion changed: refusals first, then what has no answer, then the value.

    Args:
        ours: Verdict and value of the variant.
        theirs: Those of the reference.
        better: 1 where a larger value is better, -1 where it is worse, 0 where it is neither.
    """
    (verdict, value), (other, other_value) = ours, theirs
    for silent, (began, ended) in _SILENCES.items():
        if (verdict is silent) != (other is silent):
            return began if verdict is silent else ended
    if value is None or other_value is None or not better:
        return "changed"
    return "gained" if (value - other_value) * better > 0 else "lost"


def _in_turns(rows: Mapping[FlipKind, Sequence[_Row]], most: int) -> tuple[Flip, ...]:
    # A sampled dimension changes nearly every completion: only what is listed becomes a flip.
    listed = [
        [_flip(kind, row) for row in nsmallest(most, found, key=_shuffled)]
        for kind, found in rows.items()
    ]
    turns = [flip for turn in zip_longest(*listed) for flip in turn if flip is not None]
    return tuple(turns[:most])


def _flip(kind: FlipKind, row: _Row) -> Flip:
    scenario, sample, index, ours, our_value, theirs, their_value = row
    return Flip(
        scenario=scenario,
        sample_id=sample,
        completion_index=index,
        kind=kind,
        verdict=ours,
        value=our_value,
        reference_verdict=theirs,
        reference_value=their_value,
    )


def _shuffled(row: _Row) -> str:
    return digest_of(list(row[:3]))
