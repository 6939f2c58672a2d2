"""The claim about a recipe: the spread between calibration seeds is part of the error.

A comparison of one artifact says nothing of the next one made by the same recipe with other
calibration data. With several seeds the mean difference varies for two reasons, which rows were
drawn and which seeds were, and both enter the interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from assay_coordinator.statistics.interval import LEVEL, Interval


@dataclass(frozen=True)
class RecipeEstimate:
    """Mean difference over seeds, in the unit of the differences."""

    difference: float
    interval: Interval
    between_seed_sd: float
    standard_error: float
    p_value: float


def recipe_estimate(
    differences: Sequence[float], rows_standard_error: float, clusters: int, level: float = LEVEL
) -> RecipeEstimate:
    """Interval of a recipe's mean difference from the dense parent.

    Seeds and rows are crossed random factors. The variance of the mean is that over rows (a cluster
    bootstrap of the mean over seeds) plus the variance between seeds over their number; the
    interaction of the two is in both terms, so the interval is on the long side. Degrees of freedom
    by Satterthwaite (1946, Biometrics Bulletin 2:110-114), of which few seeds leave few.

    Args:
        differences: Variant minus parent for each seed.
        rows_standard_error: Standard error of the mean over seeds when rows are drawn again.
        clusters: Independent rows.
        level: Two-sided confidence level.

    Returns:
        The estimate; its interval is infinite with fewer than two seeds or clusters.
    """
    count = len(differences)
    mean = float(np.mean(differences))
    if count < 2 or clusters < 2 or not math.isfinite(rows_standard_error):
        nothing = Interval(-math.inf, math.inf, level, "undetermined")
        return RecipeEstimate(mean, nothing, 0.0, math.inf, 1.0)
    method = f"cluster bootstrap and spread of {count} calibration seeds, t by Satterthwaite"
    spread = float(np.std(differences, ddof=1))
    rows, seeds = rows_standard_error**2, spread**2 / count
    error = math.sqrt(rows + seeds)
    if error == 0.0:
        return RecipeEstimate(mean, Interval(mean, mean, level, method), spread, 0.0, 1.0)
    freedom = (rows + seeds) ** 2 / (rows**2 / (clusters - 1) + seeds**2 / (count - 1))
    reach = float(student.ppf(0.5 + level / 2, freedom)) * error
    p_value = 2 * float(student.sf(abs(mean) / error, freedom))
    interval = Interval(mean - reach, mean + reach, level, method)
    return RecipeEstimate(mean, interval, spread, error, p_value)
