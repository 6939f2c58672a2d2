"""What a report shows, apart from how. The JSON report is this model, field by field."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from assay_coordinator.domain.canary import CanaryFacts
from assay_coordinator.domain.comparison import Comparison, GateResult
from assay_coordinator.domain.flips import FlipGroup
from assay_coordinator.domain.progress import Histogram, LayerFact, MeasuredServing
from assay_coordinator.statistics.interval import LEVEL
from assay_core.recipes import METHODS

SCHEMA_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReportVariant(_Part):
    """A row of the study's matrix."""

    key: str
    model: str
    label: str
    method: str  # recipe method: `gptq`
    calibration_seed: int = 0
    state: str
    error: str = ""
    artifact_digest: str = ""
    bits_per_weight: float | None = None
    sparsity: float | None = None
    packed_bytes: int | None = None
    flops_per_token: int | None = None  # counted, not measured
    decode_bytes_per_token: int | None = None
    compression_seconds: float | None = None
    compression_peak_bytes: int | None = None
    compressed_on: str = ""
    measured: MeasuredServing | None = None
    measured_on: str = ""  # engine and device
    is_reference: bool = False
    layers: tuple[LayerFact, ...] = ()
    histogram: Histogram | None = None

    @property
    def family(self) -> Literal["dense", "quantized", "pruned"]:
        """How the variant is drawn."""
        if self.is_reference or self.method == "dense":
            return "dense"
        method = METHODS.get(self.method)
        return "pruned" if method is not None and method.prunes else "quantized"


class ReportScore(_Part):
    """Score of one variant in one dimension by one parser version."""

    variant_key: str
    dimension: str
    metric: str
    parser_version: str
    value: float | None = None
    partial_value: float | None = None
    paper_rounded_value: float | None = None
    interval_low: float | None = None
    interval_high: float | None = None
    n: int = 0
    n_expected: int = 0
    completions: int = 0
    refused: int = 0
    unparsable: int = 0
    overlength: int = 0
    refusal_rule: str = ""
    complete: bool = True
    missing: tuple[str, ...] = ()
    verdicts_digest: str = ""
    scenarios: tuple[ReportScenario, ...] = ()

    @property
    def shown(self) -> float | None:
        """The score, or that of what is there."""
        return self.partial_value if self.value is None else self.value


class ReportScenario(_Part):
    """Score of one scenario."""

    scenario: str
    value: float | None = None
    interval_low: float | None = None
    interval_high: float | None = None
    n: int = 0
    n_expected: int = 0
    sub_values: dict[str, float] = {}


class Published(_Part):
    """A difference of ours beside the published one of the same model, method and level."""

    variant_key: str
    dimension: str
    parser_version: str
    difference: float
    interval_low: float | None = None
    interval_high: float | None = None
    published_difference: float  # mean over the published calibration seeds
    published_low: float
    published_high: float
    published_seeds: int

    @property
    def agreement(self) -> Literal["same direction", "other direction", "ours undecided"]:
        """Whether both fell or both rose; undecided where our interval holds 0."""
        low, high = self.interval_low, self.interval_high
        if low is None or high is None or low <= 0 <= high:
            return "ours undecided"
        same = (self.difference < 0) == (self.published_difference < 0)
        return "same direction" if same else "other direction"


Outcome = Literal["holds here", "does not hold here", "undecided here"]


class Finding(_Part):
    """Whether what the paper finds of a method at a level is so of one variant; points."""

    variant_key: str
    claim: str
    outcome: Outcome
    change: float | None  # mean over the trust dimensions
    published_low: float  # the same mean, over the published models and calibration seeds
    published_high: float
    published_settings: int
    within_margin: int  # dimensions whose loss is surely below the margin
    dimensions: int
    fell: tuple[str, ...] = ()  # surely, after correction
    worst: str
    worst_difference: float
    worst_low: float | None = None
    worst_high: float | None = None


class NotRun(_Part):
    """Something the study asked for and did not get."""

    what: str
    why: str


class Fact(_Part):
    """One line of provenance."""

    name: str
    value: str


class ReportData(_Part):
    """Everything a report shows."""

    schema_version: int = SCHEMA_VERSION
    study_id: str
    study_name: str
    state: str
    generated_at: datetime
    headline: str
    demo: bool = False
    gate: GateResult | None = None
    dimensions: tuple[str, ...]
    parser_version: str
    variants: tuple[ReportVariant, ...]
    scores: tuple[ReportScore, ...]
    comparisons: tuple[Comparison, ...]
    published: tuple[Published, ...] = ()
    findings: tuple[Finding, ...] = ()
    flips: tuple[FlipGroup, ...] = ()
    canary: CanaryFacts | None = None
    not_run: tuple[NotRun, ...] = ()
    estimand: str = ""
    provenance: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def level(self) -> str:
        """Level of the paired intervals, as `95 %`; an extended study has a higher one."""
        levels = {comparison.confidence_level for comparison in self.comparisons} or {LEVEL}
        return f"{100 * max(levels):.4g} %"

    def score(self, variant_key: str, dimension: str) -> ReportScore | None:
        """The main parser's score of a cell."""
        for score in self.scores:
            same = (score.variant_key, score.dimension) == (variant_key, dimension)
            if same and score.parser_version == self.parser_version:
                return score
        return None

    def comparison(self, variant_key: str, dimension: str) -> Comparison | None:
        """The main parser's comparison of a whole dimension with the reference."""
        for comparison in self.comparisons:
            cell = (comparison.variant_key, comparison.dimension, comparison.scenario)
            same = cell == (variant_key, dimension, "")
            if same and comparison.parser_version == self.parser_version:
                return comparison
        return None


ReportScore.model_rebuild()
