"""What to compare and how, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assay_coordinator.statistics.decision import DEFAULT_MARGIN_POINTS
from assay_coordinator.statistics.interval import LEVEL

REPLICATES = 2000
SEQUENTIAL = "betting confidence sequence without replacement"

# Below this number of differing clusters the percentile interval is not trusted alone.
FEW_DIFFERING_CLUSTERS = 10


@dataclass(frozen=True)
class Names:
    """What is compared, for the record."""

    variant_key: str
    reference_key: str
    dimension: str
    metric: str
    parser_version: str


@dataclass(frozen=True)
class Draw:
    """How rows came in an evaluation that may have stopped early.

    Attributes:
        order: Sample ids of each scenario in the order drawn.
        population: Rows of each scenario if nothing stops.
        stopped_early: Whether it stopped before all of them.
    """

    order: Mapping[str, Sequence[str]]
    population: Mapping[str, int]
    stopped_early: bool = False


@dataclass(frozen=True)
class Options:
    """How to compare."""

    margin: float = DEFAULT_MARGIN_POINTS
    level: float = LEVEL
    replicates: int = REPLICATES
    seed: int = 0
    draw: Draw | None = None  # looks were taken: the interval must hold at every one


DEFAULTS = Options()
