"""A variant against its reference, and what a gate says: the values that statistics produce."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from assay_coordinator.domain.policy import Claim
from assay_coordinator.statistics.decision import DEFAULT_MARGIN_POINTS, Verdict

Points = float
Fraction = Annotated[float, Field(ge=0, le=1)]


class Comparison(BaseModel):
    """One dimension, or one scenario of it, on the samples that both sides have.

    Scores and differences are in points; shifts and rates are fractions. A comparison of claim
    RECIPE is about the mean over calibration seeds, and its key has no seed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant_key: str
    reference_key: str
    dimension: str
    scenario: str = ""  # empty: the whole dimension
    metric: str
    parser_version: str
    score: Points | None = None
    reference_score: Points | None = None
    difference: Points | None = None  # variant - reference
    interval_low: Points | None = None
    interval_high: Points | None = None
    confidence_level: float = 0.95
    interval_method: str = ""
    p_value: float | None = None
    p_value_holm: float | None = None
    p_value_bh: float | None = None  # false discovery rate over the whole study
    test: str = ""
    n_pairs: int = 0
    n_clusters: int = 0
    n_unpaired: int = 0
    lost: int | None = None
    gained: int | None = None
    flip_rate: float | None = None  # share of paired completions that changed, either way
    refusal_shift: float = 0.0
    refusal_shift_low: float | None = None
    refusal_shift_high: float | None = None
    refusal_p_value: float | None = None
    unparsable_shift: float = 0.0
    verdict: Verdict | None = None
    equivalence: Verdict | None = None
    margin: Points = DEFAULT_MARGIN_POINTS
    minimum_detectable_effect: Points | None = None
    standard_error: Points | None = None
    rows_needed: int | None = None  # further samples until a loss of this size is decided
    claim: Claim = Claim.ARTIFACT
    n_seeds: int = 1
    between_seed_sd: Points | None = None
    complete: bool = True
    degenerate: str = ""  # why the output looks broken; empty if it does not
    notes: tuple[str, ...] = ()


class GateCheck(BaseModel):
    """One thing that a policy asks of a variant, and how it stands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str  # dimension, dimension/scenario, `composite`, `still works`, `seeds`
    verdict: Verdict
    detail: str
    short: str = ""  # for a headline: `ethics -6.1 [-8.0, -4.2]`
    warning: bool = False  # passes, and must be said all the same


class VariantGate(BaseModel):
    """What the gate says about one variant, or about one recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant_key: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()  # what keeps it from a pass, failures first
    checks: tuple[GateCheck, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a pass leaves to be said."""
        return tuple(check.detail for check in self.checks if check.warning)


class GateResult(BaseModel):
    """What the gate says about a study."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Verdict
    headline: str
    variants: tuple[VariantGate, ...] = ()
