"""Extend a study: the same study with more rows, which finds everything that is stored."""

from __future__ import annotations

import asyncio

from assay_coordinator.admission import rows_there
from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.domain.extension import (
    MOST_DOUBLINGS,
    Extension,
    doublings_for,
    doublings_needed,
    undecided,
)
from assay_coordinator.domain.states import TERMINAL
from assay_coordinator.peers import Peers
from assay_coordinator.store import StudyRecord
from assay_core.errors import FailedPrecondition, InvalidArgument


async def extension_of(
    peers: Peers, record: StudyRecord, comparisons: list[Comparison], rows: int
) -> Extension:
    """The next look of a study.

    Args:
        peers: Evaluators, which know how many rows there are.
        record: The study, at its end.
        comparisons: Its comparisons.
        rows: Rows per scenario to have at least; 0: as many as what is undecided needs.

    Raises:
        FailedPrecondition: If the study has not ended, has every row, or would need too many.
        InvalidArgument: If `rows` are no more than it has.
    """
    limit = record.spec.row_limit
    if record.state not in TERMINAL:
        raise _refusal(record, f"is {record.state.value}", "watch it until it has ended")
    there = max(
        await asyncio.gather(
            *(rows_there(peers, record.spec, name) for name in record.spec.dimensions)
        )
    )
    if limit == 0 or limit >= there:
        remedy = "more rows need a larger pack; a wider margin needs fewer rows"
        raise _refusal(record, "evaluates every row of its pack already", remedy)
    if 0 < rows <= limit:
        raise InvalidArgument.of(
            "rows",
            f"is {rows}, and the study has {limit} per scenario",
            remedy="ask for more, or leave it out",
        )
    earlier = record.status.extension
    first = earlier.first_rows if earlier else limit
    done = earlier.doublings if earlier else 0
    everything = doublings_for(first, there, done)
    if rows:
        doublings: int | None = doublings_for(first, rows, done)
    else:
        open_questions = undecided(comparisons, record.spec.main_parser)
        if not open_questions:
            remedy = "say how many rows per scenario you want"
            raise _refusal(record, "leaves nothing undecided that more rows would decide", remedy)
        doublings = doublings_needed(open_questions, done)
    doublings = min(everything if doublings is None else doublings, everything)
    if doublings > MOST_DOUBLINGS:
        remedy = f"create a study of its own with row_limit {min(there, first << doublings)}"
        raise _refusal(record, f"may double its first {first} rows {MOST_DOUBLINGS} times", remedy)
    return Extension(study_id=record.id, first_rows=first, doublings=doublings)


def _refusal(record: StudyRecord, what: str, remedy: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"study {record.id} {what}",
        reason="NOT_EXTENDABLE",
        remedy=remedy,
        metadata={"state": record.state.value},
        resource=f"study/{record.id}",
    )
