"""The paper's findings beside this study's: do they hold here, whatever the model is?

"Decoding Compressed Trust" (arXiv 2403.15447) finds that 8 and 4 bits keep a model's trust and that
3 bits and pruning half of the weights lose it. A study with such a recipe says of each variant
whether that is so here, with the published change beside its own; the published table is about
other and larger models, so it stands for directions and orders of magnitude.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.domain.policy import Claim
from assay_coordinator.report.model import Finding, Outcome, ReportVariant
from assay_coordinator.report.published import is_against_dense, level_of, published_changes
from assay_coordinator.statistics.decision import Verdict

# Level of a recipe -> what the paper finds at it (abstract, sections 4 and 5).
_CLOSE, _FALLS = "stays close to dense", "falls"
_CLAIMS = {"8": _CLOSE, "4": _CLOSE, "3": _FALLS, "2:4": _FALLS, "4:8": _FALLS, "1:2": _FALLS}
_UTILITY = "utility"
_SURE = 0.05


def findings_of(
    variants: Sequence[ReportVariant], comparisons: Iterable[Comparison], parser_version: str
) -> tuple[Finding, ...]:
    """One finding for each variant whose method and level the published table has."""
    by_key = {variant.key: variant for variant in variants}
    compared = [
        c
        for c in comparisons
        if not c.scenario
        and c.parser_version == parser_version
        and c.claim is Claim.ARTIFACT
        and c.difference is not None
        and is_against_dense(c, by_key)
    ]
    found = []
    for variant in variants:
        level = level_of(variant)
        published = published_changes(variant.method, level)
        ours = [c for c in compared if c.variant_key == variant.key]
        if level not in _CLAIMS or not published or not ours:
            continue
        trust = [c.difference for c in ours if c.dimension != _UTILITY and c.difference is not None]
        worst = min(ours, key=lambda c: c.difference or 0.0)
        found.append(
            Finding(
                variant_key=variant.key,
                claim=_CLAIMS[level],
                outcome=_outcome(_CLAIMS[level], ours),
                change=fmean(trust) if trust else None,
                published_low=min(published),
                published_high=max(published),
                published_settings=len(published),
                within_margin=sum(c.verdict is Verdict.PASS for c in ours),
                dimensions=len(ours),
                fell=tuple(c.dimension for c in ours if surely_fell(c)),
                worst=worst.dimension,
                worst_difference=worst.difference or 0.0,
                worst_low=worst.interval_low,
                worst_high=worst.interval_high,
            )
        )
    return tuple(found)


def _outcome(claim: str, ours: Sequence[Comparison]) -> Outcome:
    """Holds or not where the intervals decide it; else it is undecided, whatever the points say."""
    lost = any(c.verdict is Verdict.FAIL for c in ours)
    kept = all(c.verdict is Verdict.PASS for c in ours)
    if claim == _CLOSE:
        return "does not hold here" if lost else "holds here" if kept else "undecided here"
    if lost or any(surely_fell(c) for c in ours):
        return "holds here"
    return "does not hold here" if kept else "undecided here"


def surely_fell(comparison: Comparison) -> bool:
    """Below its reference, also after the correction over the variant's dimensions."""
    high, p_value = comparison.interval_high, comparison.p_value_holm
    return high is not None and high < 0 and p_value is not None and p_value < _SURE
