"""Coverage of intervals of paired differences, summed over every outcome instead of drawn.

A pair (or a cluster) loses, gains, or does not change; an interval depends on the two counts alone.
So the probability that it misses the true difference is a sum over counts, without the error of a
simulation: what leaves 95 % here is the method, not the draw.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import multinomial

_LEAST = 1e-5  # outcomes rarer than this are left out


@dataclass(frozen=True)
class Coverage:
    """Probabilities over all outcomes.

    Attributes:
        covered: The interval holds the true difference.
        low_missed: Its lower end lies above it: a gate takes the loss for smaller than it is.
    """

    covered: float
    low_missed: float


def coverage(interval_of, pairs, loss, gain, effects=(-1.0, 1.0)):
    """Coverage of an interval.

    Args:
        interval_of: Maps counts (pairs that lost, pairs that gained) to an interval.
        pairs: Number of pairs.
        loss: Probability that a pair loses.
        gain: Probability that it gains.
        effects: Difference of a pair that loses, and of one that gains.
    """
    lost, gained = (
        part.ravel() for part in np.meshgrid(_counts(pairs, loss), _counts(pairs, gain))
    )
    possible = lost + gained <= pairs
    lost, gained = lost[possible], gained[possible]
    outcomes = np.stack([lost, gained, pairs - lost - gained], axis=1)
    weight = multinomial.pmf(outcomes, pairs, [loss, gain, 1 - loss - gain])
    kept = weight > _LEAST
    truth = loss * effects[0] + gain * effects[1]
    low = high = 0.0
    for a, b, w in zip(lost[kept], gained[kept], weight[kept], strict=True):
        found = interval_of(int(a), int(b))
        low += w * (found.low > truth + 1e-12)
        high += w * (found.high < truth - 1e-12)
    total = weight[kept].sum()
    return Coverage(1 - (low + high) / total, low / total)


def _counts(pairs, share):
    mean = pairs * share
    return np.arange(min(pairs, int(mean + 6 * np.sqrt(mean) + 6)) + 1)
