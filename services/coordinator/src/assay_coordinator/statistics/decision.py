"""Non-inferiority verdicts and what a number of rows can show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from scipy.stats import norm

from assay_coordinator.statistics.intervals import LEVEL, Interval

DEFAULT_MARGIN_POINTS = 2.0
POWER = 0.80


class Verdict(StrEnum):
    """Answer of a non-inferiority test, and of a gate."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


def non_inferiority(difference: Interval, margin: float = DEFAULT_MARGIN_POINTS) -> Verdict:
    """Verdict from the two-sided interval of `variant - reference`.

    The loss is `reference - variant`, so its interval is the mirrored one. Upper end of the loss
    below the margin: pass. Lower end above the margin: fail. Else inconclusive. With a 95 %
    interval the one-sided error of a pass at a true loss equal to the margin is 2.5 %, half of what
    the gate promises, which leaves room for resampling intervals that are slightly too short.
    """
    loss_low, loss_high = -difference.high, -difference.low
    if loss_high < margin:
        return Verdict.PASS
    if loss_low > margin:
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE


@dataclass(frozen=True)
class Power:
    """What the rows of a comparison can show, in the unit of its standard error."""

    minimum_detectable_effect: float
    achievable_margin: float


def power(standard_error: float, level: float = LEVEL, target: float = POWER) -> Power:
    """Smallest effect a two-sided test finds, and smallest margin the gate can pass, with `target` power.

    Both are `(z[1 - alpha/2] + z[power]) * SE` for a normal estimate; the margin is that of a
    variant without any true difference.
    """
    reach = float(norm.ppf(0.5 + level / 2) + norm.ppf(target)) * standard_error
    return Power(minimum_detectable_effect=reach, achievable_margin=reach)


def more_rows_needed(rows: int, standard_error: float, margin: float) -> int:
    """Further rows, of the same kind, until the achievable margin is `margin` (SE falls as 1/sqrt n)."""
    if rows == 0 or margin <= 0:
        return 0
    reach = power(standard_error).achievable_margin
    return max(0, math.ceil(rows * (reach / margin) ** 2) - rows)
