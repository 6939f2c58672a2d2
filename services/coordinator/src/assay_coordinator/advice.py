"""What a headline adds about rows: that some were added, and the command that adds more."""

from __future__ import annotations

from collections.abc import Sequence

from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.domain.extension import Extension, doublings_needed, undecided
from assay_coordinator.domain.progress import EvaluationStatus
from assay_coordinator.domain.study import StudySpec


def advised(
    headline: str,
    study_id: str,
    spec: StudySpec,
    extension: Extension | None,
    *,
    comparisons: Sequence[Comparison],
    evaluations: Sequence[EvaluationStatus],
    seconds: float,
) -> str:
    """The headline, and `20 -> 80 rows per scenario, ~14 min: assay study extend ID`.

    Args:
        headline: The answer in a sentence.
        study_id: Id of the study.
        spec: What was asked for.
        extension: Where the study stands among its looks; None for the first.
        comparisons: Its comparisons.
        evaluations: Its evaluations.
        seconds: How long it ran, which the time of more rows is estimated from.
    """
    parts = [headline]
    if extension is not None:
        parts.append(f"{extension.sentence}.")
    doublings = _doublings(spec, extension, comparisons, evaluations)
    if doublings is not None:
        first = extension.first_rows if extension else spec.row_limit
        rows = first << doublings
        minutes = _minutes(rows / spec.row_limit - 1, evaluations, seconds)
        parts.append(
            f"More rows would decide ({spec.row_limit:,} -> {rows:,} per scenario{minutes}): "
            f"`assay study extend {study_id}`."
        )
    return " ".join(parts)


def _doublings(
    spec: StudySpec,
    extension: Extension | None,
    comparisons: Sequence[Comparison],
    evaluations: Sequence[EvaluationStatus],
) -> int | None:
    """None where there is nothing to decide, or no row that was left out."""
    counts = [score.counts for evaluation in evaluations for score in evaluation.scores]
    rows = [count for evaluation in evaluations for count in evaluation.planned_rows.values()]
    left_out = any(count.n < count.n_expected for count in counts)
    if not spec.row_limit or max(rows, default=0) < spec.row_limit or not left_out:
        return None
    done = extension.doublings if extension else 0
    return doublings_needed(undecided(comparisons, spec.main_parser), done)


def _minutes(growth: float, evaluations: Sequence[EvaluationStatus], seconds: float) -> str:
    """`, ~14 min`, at the pace of the completions that this study generated."""
    total = sum(evaluation.progress.total for evaluation in evaluations)
    generated = total - sum(evaluation.completions_reused for evaluation in evaluations)
    if generated <= 0 or seconds <= 0:
        return ""
    return f", ~{max(1, round(growth * total * seconds / generated / 60)):,} min"
