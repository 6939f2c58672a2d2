"""The gate: a policy over comparisons, giving pass, fail or inconclusive with every reason.

A pass is an intersection-union test: *every* required comparison must show non-inferiority, so no
correction for multiplicity is due. A broken model looks safe (gibberish never agrees with a
stereotype and leaks nothing), so a pass also needs that the model still works: non-inferior
utility, no jump of unparsable answers, no degenerate output.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from assay_coordinator.domain.comparison import Comparison, GateCheck, GateResult, VariantGate
from assay_coordinator.domain.policy import Claim, Composite, GatePolicy, GateRule, OnIncomplete
from assay_coordinator.gate_headline import headline
from assay_coordinator.statistics.decision import Verdict, equivalence, non_inferiority
from assay_coordinator.statistics.interval import Interval
from assay_coordinator.statistics.power import rows_to_decide

UTILITY = "utility"
_INCOMPLETE = {
    OnIncomplete.FAIL: Verdict.FAIL,
    OnIncomplete.INCONCLUSIVE: Verdict.INCONCLUSIVE,
    OnIncomplete.WARN: Verdict.PASS,
}


@dataclass(frozen=True)
class Candidate:
    """What is judged: a variant, or a recipe with its seeds.

    Attributes:
        key: Key of the variant, or of the recipe.
        comparisons: Its comparisons by the main parser version, dimensions and scenarios.
        failure: Why it was not evaluated as a whole; empty if it was.
        seeds: Calibration seeds of its recipe that were compared.
        depends_on_seed: Whether another seed would give other weights.
    """

    key: str
    comparisons: tuple[Comparison, ...] = ()
    failure: str = ""
    seeds: int = 1
    depends_on_seed: bool = False


def evaluate_gate(
    policy: GatePolicy, candidates: Iterable[Candidate], *, dimensions: Sequence[str]
) -> GateResult:
    """Apply a policy.

    Args:
        policy: What must hold.
        candidates: What is judged, each by itself.
        dimensions: Dimensions of the study: each gets the default rule if the policy has no rules.
    """
    rules = policy.rules or tuple(GateRule(dimension=name) for name in dimensions)
    results = [_judge(candidate, policy, rules) for candidate in candidates]
    return GateResult(
        verdict=worst(result.verdict for result in results),
        headline=headline(results),
        variants=tuple(results),
    )


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Fail beats inconclusive beats pass; nothing at all is inconclusive."""
    seen = set(verdicts)
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
        if verdict in seen:
            return verdict
    return Verdict.PASS if seen else Verdict.INCONCLUSIVE


def _judge(candidate: Candidate, policy: GatePolicy, rules: Sequence[GateRule]) -> VariantGate:
    checks: list[GateCheck] = []
    if candidate.failure:
        checks.append(_undecided("evaluation", candidate.failure))
    found = {(c.dimension, c.scenario): c for c in candidate.comparisons}
    if found or not candidate.failure:
        for rule in rules:
            checks += _apply(rule, policy, found.get((rule.dimension, rule.scenario)))
        checks += _composite(policy, found)
        checks += _seeds(policy, candidate)
        checks += _still_works(policy, rules, found)
    bad = [check for check in checks if check.verdict is not Verdict.PASS]
    bad.sort(key=lambda check: check.verdict is not Verdict.FAIL)
    return VariantGate(
        variant_key=candidate.key,
        verdict=worst(check.verdict for check in checks),
        reasons=tuple(dict.fromkeys(check.detail for check in bad)),
        checks=tuple(checks),
    )


def _undecided(name: str, detail: str, short: str = "") -> GateCheck:
    return GateCheck(name=name, verdict=Verdict.INCONCLUSIVE, detail=detail, short=short or detail)


def _apply(rule: GateRule, policy: GatePolicy, comparison: Comparison | None) -> list[GateCheck]:
    """Checks of one rule on one candidate."""
    name = f"{rule.dimension}/{rule.scenario}" if rule.scenario else rule.dimension
    if comparison is None:
        return [_incomplete(name, policy, "not compared")]
    if rule.metric and comparison.metric != rule.metric:
        detail = f"{name}: compared by {comparison.metric}, the rule wants {rule.metric}"
        return [_undecided(name, detail)]
    checks: list[GateCheck] = []
    if not comparison.complete:
        checks.append(_incomplete(name, policy, f"incomplete ({'; '.join(comparison.notes)})"))
    checks.append(_against_margin(name, comparison, rule.margin or policy.default_margin))
    if rule.floor is not None and comparison.score is not None and comparison.score < rule.floor:
        below = f"{name}: score {comparison.score:.1f} is below the floor {rule.floor:g}"
        checks.append(GateCheck(name=name, verdict=Verdict.FAIL, detail=below, short=below))
    if rule.max_refusal_shift is not None:
        checks.append(_refusals(name, comparison, rule.max_refusal_shift))
    return checks


def _incomplete(name: str, policy: GatePolicy, problem: str) -> GateCheck:
    return GateCheck(
        name=name,
        verdict=_INCOMPLETE[policy.on_incomplete],
        detail=f"{name}: {problem}",
        short=f"{name} {problem.split(' (', maxsplit=1)[0]}",
        warning=policy.on_incomplete is OnIncomplete.WARN,
    )


def _against_margin(name: str, comparison: Comparison, margin: float) -> GateCheck:
    interval = _interval(comparison)
    if comparison.difference is None or interval is None:
        return _undecided(name, f"{name}: no interval of the difference")
    shown = f"{name} {comparison.difference:+.1f} [{interval.low:+.1f}, {interval.high:+.1f}]"
    verdict = non_inferiority(interval, margin)
    if verdict is Verdict.INCONCLUSIVE:
        rows = _rows_needed(comparison, comparison.difference, interval, margin)
        more = f"{_rounded(rows):,} more rows" if rows else ""
        detail = f"{shown}: undecided at a margin of {margin:g}" + (f"; {more}" if more else "")
        return _undecided(name, detail, f"{name} undecided" + (f": {more}" if more else ""))
    words = "non-inferior within" if verdict is Verdict.PASS else "worse than the margin of"
    return GateCheck(name=name, verdict=verdict, detail=f"{shown}: {words} {margin:g}", short=shown)


def _rows_needed(
    comparison: Comparison, difference: float, interval: Interval, margin: float
) -> int | None:
    """Those that the comparison says, or others where this margin is another one."""
    if margin == comparison.margin or not comparison.n_pairs:
        return comparison.rows_needed
    return rows_to_decide(comparison.n_pairs, difference, interval, margin)


def _rounded(rows: int) -> int:
    """Two significant digits, upwards: an estimate must not look exact."""
    unit: int = 10 ** max(0, len(str(rows)) - 2)
    return -(-rows // unit) * unit


def _interval(comparison: Comparison) -> Interval | None:
    if comparison.interval_low is None or comparison.interval_high is None:
        return None
    return Interval(comparison.interval_low, comparison.interval_high, comparison.confidence_level)


def _refusals(name: str, comparison: Comparison, limit: float) -> GateCheck:
    """The shift of refusals, by its interval where there is one."""
    shift = comparison.refusal_shift
    low, high = comparison.refusal_shift_low, comparison.refusal_shift_high
    text = f"{name}: refusals moved by {100 * shift:+.1f} points"
    if low is None or high is None:
        verdict = Verdict.FAIL if abs(shift) > limit else Verdict.PASS
    else:
        verdict = equivalence(Interval(low, high, comparison.confidence_level), limit)
        text += f" [{100 * low:+.1f}, {100 * high:+.1f}]"
    words = {
        Verdict.PASS: "at most",
        Verdict.FAIL: "more than",
        Verdict.INCONCLUSIVE: "undecided at a limit of",
    }[verdict]
    return GateCheck(
        name=name, verdict=verdict, detail=f"{text}, {words} {100 * limit:g}", short=text
    )


def _composite(policy: GatePolicy, found: Mapping[tuple[str, str], Comparison]) -> list[GateCheck]:
    """The weighted mean of dimensions as one difference."""
    if policy.composite is None:
        return []
    combined = _weighted(policy.composite, found)
    if combined is None:
        absent = [name for name in policy.composite.weights if (name, "") not in found]
        what = f"{', '.join(absent)} not compared" if absent else "no interval of a difference"
        return [_undecided("composite", f"composite: {what}")]
    margin = policy.composite.margin or policy.default_margin
    return [_against_margin("composite", combined, margin)]


def _weighted(
    composite: Composite, found: Mapping[tuple[str, str], Comparison]
) -> Comparison | None:
    """A weighted mean of differences.

    Its arms add in quadrature, because dimensions share no rows. Those of recipes add as they are:
    a calibration seed that is bad may be bad in every dimension.
    """
    total = sum(composite.weights.values())
    difference = down = up = 0.0
    first: Comparison | None = None
    for name, weight in composite.weights.items():
        comparison = found.get((name, ""))
        interval = _interval(comparison) if comparison is not None else None
        if comparison is None or comparison.difference is None or interval is None:
            return None
        first = first or comparison
        share = weight / total
        difference += share * comparison.difference
        power = 1 if comparison.claim is Claim.RECIPE else 2
        down += (share * (comparison.difference - interval.low)) ** power
        up += (share * (interval.high - comparison.difference)) ** power
    if first is None:
        return None
    if first.claim is not Claim.RECIPE:
        down, up = math.sqrt(down), math.sqrt(up)
    low, high = difference - down, difference + up
    changes = {"difference": difference, "interval_low": low, "interval_high": high}
    return first.model_copy(update={**changes, "rows_needed": None, "n_pairs": 0})


def _seeds(policy: GatePolicy, candidate: Candidate) -> list[GateCheck]:
    if not candidate.depends_on_seed or candidate.seeds >= policy.seeds_needed:
        return []
    detail = (
        f"seeds: {candidate.seeds} of the {policy.seeds_needed} calibration seeds that the policy "
        "needs were compared"
    )
    return [_undecided("seeds", detail, f"{candidate.seeds} of {policy.seeds_needed} seeds")]


def _still_works(
    policy: GatePolicy,
    rules: Sequence[GateRule],
    found: Mapping[tuple[str, str], Comparison],
) -> list[GateCheck]:
    """The guard against a broken model that looks safe."""
    name = "still works"
    checks: list[GateCheck] = []
    judged = {rule.dimension for rule in rules} | {UTILITY}
    for (dimension, scenario), comparison in found.items():
        if scenario or dimension not in judged:
            continue
        if comparison.degenerate:
            checks.append(_undecided(name, f"degenerate: {dimension}: {comparison.degenerate}"))
        if comparison.unparsable_shift > policy.max_unparsable_shift:
            reason = (
                f"degenerate: {dimension}: unparsable answers rose by "
                f"{100 * comparison.unparsable_shift:.1f} points, more than "
                f"{100 * policy.max_unparsable_shift:g}"
            )
            checks.append(_undecided(name, reason))
    if policy.require_utility and not any(rule.dimension == UTILITY for rule in rules):
        utility = found.get((UTILITY, ""))
        if utility is None:
            reason = (
                "utility was not evaluated, and a broken model looks safe: add the dimension "
                "`utility`, or set `require_utility: false` in the gate"
            )
            checks.append(_undecided(name, reason, "utility was not evaluated"))
        else:
            checks += _apply(GateRule(dimension=UTILITY), policy, utility)
    return checks
