"""What a number of rows can show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from assay_coordinator.statistics.interval import LEVEL, POWER, Interval

# More rows than this would not be evaluated to decide one comparison.
MOST_ROWS = 1_000_000
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Power:
    """What the rows of a comparison can show, in the unit of its standard error."""

    minimum_detectable_effect: float
    achievable_margin: float


def power(standard_error: float, level: float = LEVEL, target: float = POWER) -> Power:
    """Smallest effect that a test finds, and margin that the gate passes, with `target` power.

    Both are `(z[1 - alpha/2] + z[power]) * SE` for a normal estimate; the margin is that of a
    variant without any true difference.
    """
    reach = (_NORMAL.inv_cdf(0.5 + level / 2) + _NORMAL.inv_cdf(target)) * standard_error
    return Power(minimum_detectable_effect=reach, achievable_margin=reach)


def standard_error_of(difference: float, interval: Interval) -> float:
    """The standard error that the longer arm of an interval stands for.

    Where few clusters differ the interval is longer than resampling says, and that is the width
    that further rows have to bring down.
    """
    quantile = _NORMAL.inv_cdf(0.5 + interval.level / 2)
    return max(difference - interval.low, interval.high - difference) / quantile


def more_rows_needed(rows: int, standard_error: float, margin: float) -> int:
    """Further rows of the same kind until `margin` is achievable; SE falls as 1/sqrt(n).

    With the distance between the loss seen and the margin instead of the margin, the rows until a
    loss of that size is decided with 80 % power.
    """
    if rows == 0 or margin <= 0:
        return 0
    reach = power(standard_error).achievable_margin
    return max(0, math.ceil(rows * (reach / margin) ** 2) - rows)


def rows_to_decide(rows: int, difference: float, interval: Interval, margin: float) -> int | None:
    """Further rows until a loss of the size seen is decided with 80 % power; None if too many."""
    error = standard_error_of(difference, interval)
    needed = more_rows_needed(rows, error, abs(margin + difference))
    return needed if needed <= MOST_ROWS else None
