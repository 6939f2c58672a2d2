"""Early stopping: a confidence sequence that is valid at every look.

Rows are drawn without replacement from the rows of a pack, in blocks, and a comparison may stop as
soon as its interval decides. A fixed-n interval looked at repeatedly errs far too often; a
confidence sequence holds the truth at *all* looks at once with the level's probability. Ours is the
hedged betting sequence for sampling without replacement of Waudby-Smith and Ramdas (2024),
"Estimating means of bounded random variables by betting", JRSS B 86:1-27 (sections 4.2 and 5;
predictable plug-in bets, equation 26), inverted on a grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from assay_coordinator.statistics.interval import LEVEL, Interval
from assay_coordinator.statistics.pairing import Pairs
from assay_coordinator.statistics.request import SEQUENTIAL, Draw
from assay_coordinator.statistics.resampling import Floats
from assay_core.aggregation import Expr, Mean, OneMinus, Scale, WeightedMean

_GRID = 1001
_CUT = 0.5  # a bet never risks more than half the capital


def betting_interval(values: Floats, population: int, level: float = LEVEL) -> tuple[float, float]:
    """Confidence sequence of a finite population's mean, after the values so far.

    Args:
        values: Values in [0, 1] in the (random) order in which they were drawn.
        population: Size of the population they are drawn from, without replacement.
        level: Probability with which the interval holds the mean at every time at once.

    Returns:
        Ends in [0, 1], the running intersection over all times; one grid step is added to each
        side for what lies between grid points.
    """
    alpha = 1 - level
    means = np.linspace(0.0, 1.0, _GRID)
    up = np.zeros(_GRID)  # log capital of bets that the mean is above m, and below
    down = np.zeros(_GRID)
    alive = np.ones(_GRID, dtype=bool)
    threshold = math.log(2 / alpha)
    seen = 0.0
    mean, spread = 0.5, 0.25
    squares = 0.25
    for t, x in enumerate(values, start=1):
        left = population - t + 1
        rest = (population * means - seen) / left  # mean of what is still to be drawn, if m is true
        possible = (rest >= -1e-12) & (rest <= 1 + 1e-12)
        alive &= possible
        rest = np.clip(rest, 1e-9, 1 - 1e-9)
        bet = math.sqrt(2 * threshold / (spread * t * math.log(1 + t)))
        up += np.log1p(np.minimum(bet, _CUT / rest) * (x - rest))
        down += np.log1p(-np.minimum(bet, _CUT / (1 - rest)) * (x - rest))
        alive &= np.maximum(up, down) < threshold
        seen += float(x)
        mean = (0.5 + seen) / (t + 1)
        squares += (float(x) - mean) ** 2
        spread = squares / (t + 1)
    kept = means[alive]
    if kept.size == 0:  # between two grid points
        centre = seen / max(1, len(values))
        kept = np.array([centre])
    step = 1 / (_GRID - 1)
    low = max(float(kept[0]) - step, seen / population)
    high = min(float(kept[-1]) + step, (seen + population - len(values)) / population)
    return max(0.0, low), min(1.0, high)


def linear_weights(formula: Expr) -> dict[str, float] | None:
    """Weight of each scenario's mean in the score; None where the score is not linear in means."""
    if isinstance(formula, Mean):
        return {formula.scenario: 1.0}
    if isinstance(formula, Scale | OneMinus):
        inner = linear_weights(formula.of)
        factor = formula.by if isinstance(formula, Scale) else -1.0
        return None if inner is None else {name: factor * w for name, w in inner.items()}
    if not isinstance(formula, WeightedMean):
        return None
    total = sum(term.weight for term in formula.terms)
    weights: dict[str, float] = {}
    for term in formula.terms:
        inner = linear_weights(term.of)
        if inner is None:
            return None
        for name, weight in inner.items():
            weights[name] = weights.get(name, 0.0) + term.weight / total * weight
    return weights


def sequential_interval(
    formula: Expr,
    pairs: Pairs,
    draw: Draw,
    level: float = LEVEL,
) -> Interval | None:
    """Confidence sequence of the difference of two scores that are linear in scenario means.

    Scenarios share the error by the union bound, which asks for no independence between them.

    Args:
        formula: Score formula, 0-100.
        pairs: Joined verdicts so far.
        draw: The order in which rows were drawn, and of how many.
        level: Level of the whole interval.

    Returns:
        The interval in points; None where the method does not apply: a score that is not linear,
        several samples of a cluster in a scenario, values outside [0, 1] or missing.
    """
    weights = linear_weights(formula)
    if weights is None or any(not draw.order.get(name) for name in weights):
        return None
    each = 1 - (1 - level) / len(weights)
    low = high = 0.0
    for name, weight in weights.items():
        drawn = _differences(pairs, name, draw.order[name])
        if drawn is None:
            return None
        ends = betting_interval((drawn + 1) / 2, draw.population[name], each)
        scaled = sorted(weight * (2 * end - 1) for end in ends)
        low, high = low + scaled[0], high + scaled[1]
    return Interval(low, high, level, SEQUENTIAL)


def _differences(pairs: Pairs, scenario: str, order: Sequence[str]) -> Floats | None:
    """Variant minus reference of each sample, in [-1, 1], in the order drawn."""
    part = pairs.scenario(scenario)
    if part.n_clusters != part.n_pairs or part.n_pairs < len(order):
        return None
    sides = []
    for side in (part.variant, part.reference):
        values = side["value"]
        if values.null_count() or not values.is_between(0.0, 1.0).all():
            return None
        sides.append(side.group_by("sample_id").agg(pl.col("value").mean()))
    joined = sides[0].join(sides[1], on="sample_id", suffix="_reference")
    found = dict(
        joined.select(
            "sample_id", (pl.col("value") - pl.col("value_reference")).alias("d")
        ).iter_rows()
    )
    result: Floats = np.array([found[name] for name in order], dtype=np.float64)
    return result
