"""The declarative score formula, evaluated alike by evaluators and by the bootstrap.

A formula is a JSON tree (`score.json`, key `formula`). `evaluate` computes it once, or for B
bootstrap replicates at a time: a replicate is a row of multiplicities, one per cluster, joint over
all scenarios. Every leaf reduces to per-cluster sums, so a replicate costs one row of a matrix
product and no pass over completions.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from assay_core.errors import InvalidArgument
from assay_core.sample_table import Floats, ScenarioTable, Table

__all__ = [
    "Disparity",
    "Exp",
    "Expr",
    "Mean",
    "OneMinus",
    "Scale",
    "ScenarioTable",
    "Table",
    "Term",
    "WeightedMean",
    "dump_expr",
    "evaluate",
    "mean_of",
    "parse_expr",
    "restrict",
    "scenarios_of",
]


class _Node(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Mean(_Node):
    """Mean over samples of a sample's non-null `value`s, reduced to one number.

    Attributes:
        reduce: `mean` over a sample's completions, or `max` (expected maximum toxicity).
    """

    op: Literal["mean"] = "mean"
    scenario: str
    reduce: Literal["mean", "max"] = "mean"


class Disparity(_Node):
    """Fairness difference between groups of a binary prediction (`value` 0 or 1).

    `dpd`: max - min over groups of P(prediction = 1). `eod`: the larger of the differences in true
    and in false positive rate. A rate without any row counts as 0, as fairlearn has it.

    Attributes:
        min_answered: With fewer answered samples the difference is 0 (a rule of `ct-2024-02`).
    """

    op: Literal["dpd", "eod"]
    scenario: str
    min_answered: int = Field(default=0, ge=0)


class OneMinus(_Node):
    """1 - x."""

    op: Literal["one_minus"] = "one_minus"
    of: Expr


class Scale(_Node):
    """x times a constant."""

    op: Literal["scale"] = "scale"
    by: float
    of: Expr


class Exp(_Node):
    """e to the power of x: 100 exp(-mean negative log-likelihood) is 100 / perplexity."""

    op: Literal["exp"] = "exp"
    of: Expr


class Term(_Node):
    """A term of a weighted mean."""

    weight: float = Field(gt=0)
    of: Expr


class WeightedMean(_Node):
    """Sum of weight times term over the sum of weights."""

    op: Literal["weighted_mean"] = "weighted_mean"
    terms: tuple[Term, ...] = Field(min_length=1)


Expr = Annotated[
    Mean | Disparity | OneMinus | Scale | Exp | WeightedMean, Field(discriminator="op")
]

for _model in (OneMinus, Scale, Exp, Term, WeightedMean):
    _model.model_rebuild()
_ADAPTER: TypeAdapter[Expr] = TypeAdapter(Expr)


def parse_expr(value: Any) -> Expr:
    """Reads a formula from its JSON value.

    Raises:
        InvalidArgument: If it is not a formula.
    """
    try:
        return _ADAPTER.validate_python(value)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise InvalidArgument.of(
            f"formula.{where}", "is not a node of a score formula", remedy="see docs/parsers.md"
        ) from error


def dump_expr(expr: Expr) -> dict[str, Any]:
    """The formula as a JSON value; inverse of `parse_expr`. Defaults are left out."""
    document: dict[str, Any] = _ADAPTER.dump_python(expr, mode="json")
    return _without_defaults(document)


def mean_of(terms: Collection[Expr]) -> WeightedMean:
    """Plain mean of formulas."""
    return WeightedMean(terms=tuple(Term(weight=1.0, of=term) for term in terms))


def scenarios_of(expr: Expr) -> tuple[str, ...]:
    """Scenarios a formula needs, in order of first mention."""
    if isinstance(expr, Mean | Disparity):
        return (expr.scenario,)
    if isinstance(expr, OneMinus | Scale | Exp):
        return scenarios_of(expr.of)
    names = (name for term in expr.terms for name in scenarios_of(term.of))
    return tuple(dict.fromkeys(names))


def restrict(expr: Expr, present: Collection[str]) -> Expr | None:
    """The formula over the scenarios that are there: absent terms fall out of weighted means.

    This is what `partial_score` is computed from. None if nothing is left.
    """
    if isinstance(expr, Mean | Disparity):
        return expr if expr.scenario in present else None
    if isinstance(expr, OneMinus):
        inner = restrict(expr.of, present)
        return None if inner is None else OneMinus(of=inner)
    if isinstance(expr, Scale):
        inner = restrict(expr.of, present)
        return None if inner is None else Scale(by=expr.by, of=inner)
    if isinstance(expr, Exp):
        inner = restrict(expr.of, present)
        return None if inner is None else Exp(of=inner)
    kept = [(term.weight, restrict(term.of, present)) for term in expr.terms]
    terms = tuple(Term(weight=weight, of=of) for weight, of in kept if of is not None)
    return WeightedMean(terms=terms) if terms else None


def evaluate(expr: Expr, table: Table, weights: Floats | None = None) -> Floats:
    """Evaluates a formula.

    Args:
        expr: The formula.
        table: Samples.
        weights: Multiplicities [B, clusters] of bootstrap replicates; None means one replicate in
            which each cluster counts once.

    Returns:
        Values [B]. NaN where a scenario is missing or has no value in the replicate.
    """
    if weights is None:
        weights = np.ones((1, len(table.clusters)))
    if weights.ndim != 2 or weights.shape[1] != len(table.clusters):
        raise InvalidArgument.of(
            "weights",
            f"has shape {weights.shape}, must be [replicates, {len(table.clusters)}]",
            remedy="one column per cluster of the table",
        )
    return _evaluate(expr, table, weights)


def _evaluate(expr: Expr, table: Table, weights: Floats) -> Floats:
    if isinstance(expr, Mean | Disparity):
        data = table.scenarios.get(expr.scenario)
        if data is None:
            return np.full(weights.shape[0], np.nan)
        if isinstance(expr, Mean):
            return _mean(expr, data, weights)
        return _disparity(expr, data, weights)
    if isinstance(expr, OneMinus | Scale | Exp):
        return _unary(expr, _evaluate(expr.of, table, weights))
    total = sum(term.weight for term in expr.terms)
    result = np.zeros(weights.shape[0])
    for term in expr.terms:
        result += term.weight * _evaluate(term.of, table, weights)
    return result / total


def _unary(expr: OneMinus | Scale | Exp, inner: Floats) -> Floats:
    if isinstance(expr, OneMinus):
        return 1.0 - inner
    if isinstance(expr, Scale):
        return expr.by * inner
    return np.exp(inner)


def _mean(expr: Mean, data: ScenarioTable, weights: Floats) -> Floats:
    values = data.maximum if expr.reduce == "max" else data.value
    return _rate(data, values, ~np.isnan(values), weights, empty=np.nan)


def _disparity(expr: Disparity, data: ScenarioTable, weights: Floats) -> Floats:
    known = ~np.isnan(data.value)
    if expr.op == "dpd":
        result = _spread(data, known, weights)
    else:
        positives = _spread(data, known & (data.label == 1), weights, among=known)
        negatives = _spread(data, known & (data.label == 0), weights, among=known)
        result = np.maximum(positives, negatives)
    if expr.min_answered:
        too_few = _counts(data, data.answered, weights) < expr.min_answered
        result = np.where(too_few, 0.0, result)
    return result


def _spread(
    data: ScenarioTable,
    mask: NDArray[np.bool_],
    weights: Floats,
    among: NDArray[np.bool_] | None = None,
) -> Floats:
    """Max - min over groups of the rate of `mask`; groups without a row in `among` are left out."""
    among = mask if among is None else among
    rates = []
    for code in range(len(data.groups)):
        member = data.group == code
        present = _counts(data, among & member, weights) > 0
        rate = _rate(data, data.value, mask & member, weights, empty=0.0)
        rates.append(np.where(present, rate, np.nan))
    if not rates:
        return np.full(weights.shape[0], np.nan)
    stacked = np.stack(rates)
    nobody = np.isnan(stacked).all(axis=0)
    high = np.where(np.isnan(stacked), -np.inf, stacked).max(axis=0)
    low = np.where(np.isnan(stacked), np.inf, stacked).min(axis=0)
    return np.where(nobody, np.nan, np.where(nobody, 0.0, high) - np.where(nobody, 0.0, low))


def _counts(data: ScenarioTable, mask: NDArray[np.bool_], weights: Floats) -> Floats:
    """Samples under a mask, in each replicate."""
    per_cluster = np.bincount(data.cluster[mask], minlength=weights.shape[1])
    return weights @ per_cluster.astype(np.float64)


def _rate(
    data: ScenarioTable,
    values: Floats,
    mask: NDArray[np.bool_],
    weights: Floats,
    *,
    empty: float,
) -> Floats:
    """Mean value of the samples under a mask, in each replicate; `empty` where there are none."""
    cluster = data.cluster[mask]
    size = weights.shape[1]
    total = weights @ np.bincount(cluster, weights=values[mask], minlength=size)
    count = weights @ np.bincount(cluster, minlength=size).astype(np.float64)
    return np.where(count > 0, total / np.where(count > 0, count, 1.0), empty)


_DEFAULTS = {"min_answered": 0, "reduce": "mean"}


def _without_defaults(node: dict[str, Any]) -> dict[str, Any]:
    """Drops fields at their defaults, so that formulas read as documented."""
    result: dict[str, Any] = {}
    for key, value in node.items():
        if key in _DEFAULTS and value == _DEFAULTS[key]:
            continue
        if isinstance(value, dict):
            result[key] = _without_defaults(value)
        elif isinstance(value, list):
            result[key] = [_without_defaults(item) for item in value]
        else:
            result[key] = value
    return result
