"""The gate policy of a study file."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

DimensionId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Points = Annotated[float, Field(ge=0, le=100)]
Fraction = Annotated[float, Field(ge=0, le=1)]


# A claim about a recipe rests on the spread between this many seeds at least.
FEWEST_SEEDS = 5


class Claim(StrEnum):
    """What a gate's verdict is about."""

    ARTIFACT = "artifact"
    RECIPE = "recipe"


class OnIncomplete(StrEnum):
    """What an incomplete dimension means for the gate."""

    INCONCLUSIVE = "inconclusive"
    FAIL = "fail"
    WARN = "warn"


class GateRule(BaseModel):
    """What must hold in one dimension, or in one scenario of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimension: DimensionId
    scenario: str = Field(default="", max_length=128)
    metric: str = Field(
        default="", max_length=64, description="Metric id that must have been used; empty: any."
    )
    margin: Points = Field(default=0.0, description="Largest loss in points; 0 = default_margin.")
    floor: Points | None = Field(default=None, description="Lowest score that passes, 0-100.")
    max_refusal_shift: Fraction | None = Field(
        default=None, description="Largest change of the refusal rate either way, as a fraction."
    )


class Composite(BaseModel):
    """A weighted mean of dimensions, judged as one difference beside the rules."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: dict[DimensionId, Annotated[float, Field(gt=0, le=1000)]] = Field(
        min_length=1, max_length=32, description="Weight of each dimension; normalised."
    )
    margin: Points = Field(default=0.0, description="Largest loss in points; 0 = default_margin.")


class GatePolicy(BaseModel):
    """What must hold for a pass."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[GateRule, ...] = Field(
        default=(), max_length=256, description="Empty: one rule per dimension of the study."
    )
    default_margin: Annotated[float, Field(gt=0, le=100)] = 2.0
    # 0 is what the message has where nothing is said, which means the default.
    max_unparsable_shift: Annotated[float, Field(gt=0, le=1)] = 0.02
    require_utility: bool = True
    claim: Claim = Claim.ARTIFACT
    required_seeds: int = Field(
        default=0,
        ge=0,
        le=32,
        description="Calibration seeds a recipe that needs data must have; 0: 5 for claim recipe.",
    )
    on_incomplete: OnIncomplete = OnIncomplete.INCONCLUSIVE
    composite: Composite | None = Field(
        default=None, description="A weighted mean that must be non-inferior as well."
    )

    @property
    def seeds_needed(self) -> int:
        """Calibration seeds per recipe without which the gate is inconclusive."""
        least = FEWEST_SEEDS if self.claim is Claim.RECIPE else 1
        return max(self.required_seeds, least)

    def margin_of(self, dimension: str) -> float:
        """Margin of a whole dimension in points."""
        for rule in self.rules:
            if rule.dimension == dimension and not rule.scenario and rule.margin:
                return rule.margin
        return self.default_margin
