"""What to compare and how, as values."""

from __future__ import annotations

from dataclasses import dataclass

from assay_coordinator.statistics.decision import DEFAULT_MARGIN_POINTS
from assay_coordinator.statistics.interval import LEVEL

REPLICATES = 2000

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
class Options:
    """How to compare."""

    margin: float = DEFAULT_MARGIN_POINTS
    level: float = LEVEL
    replicates: int = REPLICATES
    seed: int = 0


DEFAULTS = Options()
