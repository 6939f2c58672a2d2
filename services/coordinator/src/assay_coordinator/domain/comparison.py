"""A variant against its reference, and what a gate says: the values that statistics produce."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from assay_coordinator.statistics.decision import DEFAULT_MARGIN_POINTS, Verdict

Points = float
Fraction = Annotated[float, Field(ge=0, le=1)]


class Comparison(BaseModel):
    """One dimension, or one scenario of it, on the samples that both sides have."""

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
    test: str = ""
    n_pairs: int = 0
    n_clusters: int = 0
    n_unpaired: int = 0
    lost: int | None = None
    gained: int | None = None
    refusal_shift: float = 0.0
    unparsable_shift: float = 0.0
    verdict: Verdict | None = None
    margin: Points = DEFAULT_MARGIN_POINTS
    minimum_detectable_effect: Points | None = None
    standard_error: Points | None = None
    complete: bool = True
    degenerate: str = ""  # why the output looks broken; empty if it does not
    notes: tuple[str, ...] = ()


class VariantGate(BaseModel):
    """What the gate says about one variant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variant_key: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()


class GateResult(BaseModel):
    """What the gate says about a study."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Verdict
    headline: str
    variants: tuple[VariantGate, ...] = ()
