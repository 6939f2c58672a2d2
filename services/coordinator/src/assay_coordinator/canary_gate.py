"""The gate of a canary: each limit against the interval of its measure. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from assay_coordinator.domain.canary import CanaryLimits, Measure
from assay_coordinator.domain.comparison import GateCheck, GateResult, VariantGate
from assay_coordinator.gate import worst
from assay_coordinator.gate_headline import headline
from assay_coordinator.statistics.decision import Verdict

_LEAST = {"agreement", "similarity"}
_EITHER_WAY = {"refusal_shift", "length_shift"}
_WORDS = {Verdict.PASS: "within", Verdict.FAIL: "beyond", Verdict.INCONCLUSIVE: "undecided at"}


def judged(measures: Sequence[Measure], limits: CanaryLimits) -> tuple[Measure, ...]:
    """The measures with how each stands to its limit."""
    wanted = limits.by_measure
    return tuple(
        each
        if each.name not in wanted
        else each.model_copy(
            update={"limit": wanted[each.name], "verdict": _verdict(each, wanted[each.name])}
        )
        for each in measures
    )


def canary_gate(key: str, measures: Sequence[Measure], limits: CanaryLimits) -> GateResult | None:
    """The verdict over every limit; None where there is no limit.

    Args:
        key: Key of the variant.
        measures: Judged measures.
        limits: What must hold.
    """
    if not limits.by_measure:
        return None
    found = {each.name: each for each in measures}
    checks = tuple(_check(name, found.get(name)) for name in limits.by_measure)
    bad = [check for check in checks if check.verdict is not Verdict.PASS]
    bad.sort(key=lambda check: check.verdict is not Verdict.FAIL)
    gate = VariantGate(
        variant_key=key,
        verdict=worst(check.verdict for check in checks),
        reasons=tuple(check.detail for check in bad),
        checks=checks,
    )
    return GateResult(verdict=gate.verdict, headline=headline([gate]), variants=(gate,))


def plain_headline(key: str, against: str, measures: Sequence[Measure]) -> str:
    """The answer in one sentence where no limit was given."""
    shown = "; ".join(_shown(each) for each in measures)
    return f"{key} against {against}: {shown or 'no prompt could be compared'}."


def _verdict(measure: Measure, limit: float) -> Verdict:
    """Wholly inside passes, wholly outside fails."""
    low, high = measure.low, measure.high
    if measure.name in _LEAST:
        inside, outside = low >= limit, high < limit
    elif measure.name in _EITHER_WAY:
        inside, outside = -limit <= low and high <= limit, low > limit or high < -limit
    else:
        inside, outside = high <= limit, low > limit
    if inside:
        return Verdict.PASS
    return Verdict.FAIL if outside else Verdict.INCONCLUSIVE


def _check(name: str, measure: Measure | None) -> GateCheck:
    if measure is None or measure.verdict is None or measure.limit is None:
        problem = f"{_words(name)}: no pair of completions tells it"
        return GateCheck(name=name, verdict=Verdict.INCONCLUSIVE, detail=problem, short=problem)
    shown = _shown(measure)
    detail = f"{shown}: {_WORDS[measure.verdict]} the limit {_percent(measure.limit)}"
    return GateCheck(name=name, verdict=measure.verdict, detail=detail, short=shown)


def _shown(measure: Measure) -> str:
    sign = "" if measure.name in _LEAST else "+"
    value, low, high = (_percent(v, sign) for v in (measure.value, measure.low, measure.high))
    return f"{_words(measure.name)} {value} [{low}, {high}]"


def _percent(value: float, sign: str = "") -> str:
    return f"{100 * value:{sign}.1f} %"


def _words(name: str) -> str:
    return name.replace("_", " ")
