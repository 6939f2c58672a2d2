"""More rows for a study that could not decide, without breaking what its intervals promise.

To look at a fixed-n interval, add rows because it was undecided, and look again at the same level
is a second chance to be wrong. Here the looks that may ever be taken are fixed when the first one
is: at n, 2n, 4n, ... rows per scenario, up to all there are. The look after k doublings has
confidence 1 - 0.05 / 2^k, so its one-sided error at the margin is 2.5 % / 2^k, and over all looks
together at most 2.5 % (1 + 1/2 + 1/4 + ...) = 5 %: what the gate promises. That is a union bound
over a fixed grid, so it holds whichever looks are taken and for whatever reason. (Each level alone
would not do: with a number of rows chosen after a look, a naive test of all rows errs more often
than its level: Proschan and Hunsberger, Biometrics 1995.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist

from pydantic import BaseModel, ConfigDict, Field

from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.statistics.decision import Verdict
from assay_coordinator.statistics.interval import LEVEL, POWER

MOST_DOUBLINGS = 6  # 64 times the rows; further out resampling has no tail to speak of


class Extension(BaseModel):
    """Where a study stands among the looks that began with an earlier one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    study_id: str  # the study that was extended
    first_rows: int = Field(ge=1)  # row limit of the first look
    doublings: int = Field(ge=1, le=MOST_DOUBLINGS)

    @property
    def rows(self) -> int:
        """Row limit of this look."""
        return self.first_rows << self.doublings

    @property
    def sentence(self) -> str:
        """What a report and a gate say of it."""
        return (
            f"Rows were added after a look (study {self.study_id}): intervals are at "
            f"{100 * level_after(self.doublings):.4g} %, so that all looks together err as rarely "
            "as one promises"
        )


def level_after(doublings: int) -> float:
    """Confidence level of the look after so many doublings of the rows."""
    return 1 - (1 - LEVEL) / (1 << doublings)


def undecided(comparisons: Iterable[Comparison], parser_version: str) -> list[Comparison]:
    """Whole dimensions by the main parser that more rows would decide."""
    return [
        c
        for c in comparisons
        if not c.scenario
        and c.parser_version == parser_version
        and c.verdict is Verdict.INCONCLUSIVE
        and c.rows_needed
        and c.n_pairs
    ]


def doublings_needed(comparisons: Iterable[Comparison], done: int) -> int | None:
    """Doublings of the first look's rows until all of these are decided with 80 % power.

    Args:
        comparisons: Of the look after `done` doublings, as `undecided` gives them.
        done: Doublings so far.

    Returns:
        At least one more than `done`; None if no number that is allowed suffices.
    """
    growth = [(c.n_pairs + (c.rows_needed or 0)) / c.n_pairs for c in comparisons]
    if not growth:
        return None
    for doublings in range(done + 1, MOST_DOUBLINGS + 1):
        # A higher level needs more rows: they go with the square of the quantiles' sum.
        stricter = (_reach(level_after(doublings)) / _reach(LEVEL)) ** 2
        if 2 ** (doublings - done) >= max(growth) * stricter:
            return doublings
    return None


def doublings_for(first_rows: int, rows: int, done: int) -> int:
    """The first look after `done` that has at least so many rows."""
    return max(done + 1, math.ceil(math.log2(rows / first_rows)))


def _reach(level: float) -> float:
    return NormalDist().inv_cdf(0.5 + level / 2) + NormalDist().inv_cdf(POWER)
