"""A confidence interval as a value; no scientific library is needed to hold one."""

from __future__ import annotations

from dataclasses import dataclass

LEVEL = 0.95
POWER = 0.80


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval; the unit is that of the estimate it belongs to."""

    low: float
    high: float
    level: float = LEVEL
    method: str = ""

    def scaled(self, factor: float) -> Interval:
        """The interval of `factor * x`; a negative factor swaps the ends."""
        ends = sorted((self.low * factor, self.high * factor))
        return Interval(ends[0], ends[1], self.level, self.method)
