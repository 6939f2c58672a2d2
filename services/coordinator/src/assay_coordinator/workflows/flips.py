"""Which completions changed, for the report: read off the verdict shards, which hold no text."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from assay_coordinator import statistics
from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.domain.flips import FlipGroup
from assay_coordinator.domain.policy import Claim
from assay_coordinator.domain.progress import EvaluationStatus, ScoreFacts
from assay_coordinator.domain.study import StudySpec
from assay_coordinator.statistics.request import Names
from assay_coordinator.workflows.comparing import read_verdicts
from assay_coordinator.workflows.context import Context
from assay_core.aggregation import parse_expr
from assay_core.errors import AssayError
from assay_core.logs import get_logger

MOST = 20  # flips of a comparison that a report lists
_LEAST = 3
_IN_ALL = 1500  # of a whole report, so that one with 450 comparisons still opens at once
_LOG = get_logger("assay.coordinator.flips")
_Key = tuple[str, str, str]


async def flips_of_study(
    context: Context,
    spec: StudySpec,
    evaluations: Sequence[EvaluationStatus],
    comparisons: Sequence[Comparison],
) -> tuple[FlipGroup, ...]:
    """The flips of every comparison of a whole dimension by the main parser.

    A shard that cannot be read costs its own group, not the report.
    """
    scores = {
        (each.variant_key, each.dimension): score
        for each in evaluations
        if (score := each.score(spec.main_parser)) is not None
    }
    compared = [
        comparison
        for comparison in comparisons
        if not comparison.scenario
        and comparison.parser_version == spec.main_parser
        and comparison.claim is Claim.ARTIFACT
        and (comparison.variant_key, comparison.dimension) in scores
        and (comparison.reference_key, comparison.dimension) in scores
    ]
    most = max(_LEAST, min(MOST, _IN_ALL // max(1, len(compared))))
    groups: dict[tuple[str, str], list[Comparison]] = {}
    for comparison in compared:
        groups.setdefault((comparison.reference_key, comparison.dimension), []).append(comparison)
    found: dict[_Key, FlipGroup] = {}
    for group in groups.values():
        found |= await asyncio.to_thread(_of_reference, context, group, scores, most)
    return tuple(found[_key(each)] for each in compared if _key(each) in found)


def _of_reference(
    context: Context,
    comparisons: Sequence[Comparison],
    scores: Mapping[tuple[str, str], ScoreFacts],
    most: int,
) -> dict[_Key, FlipGroup]:
    """Flips of comparisons with one reference in one dimension; its verdicts are read once."""
    reference = None
    found = {}
    for comparison in comparisons:
        score = scores[comparison.variant_key, comparison.dimension]
        try:
            if reference is None:
                theirs = scores[comparison.reference_key, comparison.dimension]
                reference = read_verdicts(context.data, theirs)
            found[_key(comparison)] = statistics.find_flips(
                Names(
                    comparison.variant_key,
                    comparison.reference_key,
                    comparison.dimension,
                    comparison.metric,
                    comparison.parser_version,
                ),
                parse_expr(score.formula),
                read_verdicts(context.data, score),
                reference,
                most,
            )
        except AssayError as error:
            _LOG.warning(
                "flips_left_out",
                variant=comparison.variant_key,
                dimension=comparison.dimension,
                reason=error.reason,
            )
    return found


def _key(comparison: Comparison) -> _Key:
    return comparison.variant_key, comparison.reference_key, comparison.dimension
