"""What a score formula says about its scenarios."""

from __future__ import annotations

from assay_core.aggregation import Disparity, Exp, Expr, Mean, OneMinus, Scale


def leaves(formula: Expr) -> list[tuple[Mean | Disparity, int]]:
    """Leaves with the sign of their effect on the score."""
    if isinstance(formula, Mean | Disparity):
        return [(formula, 1)]
    if isinstance(formula, OneMinus):
        return [(leaf, -sign) for leaf, sign in leaves(formula.of)]
    if isinstance(formula, Scale):
        flip = 1 if formula.by >= 0 else -1
        return [(leaf, flip * sign) for leaf, sign in leaves(formula.of)]
    if isinstance(formula, Exp):
        return leaves(formula.of)
    return [found for term in formula.terms for found in leaves(term.of)]


def has_disparity(formula: Expr) -> bool:
    """Whether differences between groups enter the score."""
    return any(isinstance(leaf, Disparity) for leaf, _ in leaves(formula))


def predictions(formula: Expr) -> set[str]:
    """Scenarios whose `value` is the predicted class, not whether the answer was right."""
    return {leaf.scenario for leaf, _ in leaves(formula) if isinstance(leaf, Disparity)}


def directions(formula: Expr) -> dict[str, int]:
    """Whether a larger value of a scenario is better (1), worse (-1), or neither (0).

    Neither are predicted classes, and a scenario whose leaves disagree.
    """
    signs: dict[str, set[int]] = {}
    for leaf, sign in leaves(formula):
        signs.setdefault(leaf.scenario, set()).add(0 if isinstance(leaf, Disparity) else sign)
    return {name: next(iter(found)) if len(found) == 1 else 0 for name, found in signs.items()}
