"""Verdicts of non-inferiority."""

from __future__ import annotations

from enum import StrEnum, auto

from assay_coordinator.statistics.interval import Interval

DEFAULT_MARGIN_POINTS = 2.0


class Verdict(StrEnum):
    """Answer of a non-inferiority test, and of a gate."""

    PASS = auto()
    FAIL = auto()
    INCONCLUSIVE = auto()


def equivalence(difference: Interval, margin: float = DEFAULT_MARGIN_POINTS) -> Verdict:
    """Whether the difference surely lies within +-margin.

    Two one-sided tests (Schuirmann 1987, J. Pharmacokinet. Biopharm. 15:657-680) read off the
    two-sided interval: inside the margins passes, wholly outside one of them fails.
    """
    if -margin < difference.low and difference.high < margin:
        return Verdict.PASS
    if difference.low > margin or difference.high < -margin:
        return Verdict.FAIL
    return Verdict.INCONCLUSIVE


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
