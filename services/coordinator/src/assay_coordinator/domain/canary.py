"""A canary: a team's own prompts through two variants, under a load; what is asked and found.

It runs as a study of two variants that exist and of one dimension, so that it has a study's life.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from assay_coordinator.domain.policy import Fraction
from assay_coordinator.domain.study import ModelSpec, StoredRecipe, StudySpec
from assay_coordinator.statistics.decision import Verdict

DIMENSION = "canary"
MEASURES = (
    "agreement",
    "similarity",
    "refusal_shift",
    "toxicity_shift",
    "length_shift",
    "latency_shift",
)
"""Names of what is compared, in the order of a report."""

Growth = Annotated[float, Field(ge=0, le=100)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Load(_Strict):
    """How prompts arrive and are sampled."""

    arrival_rate: float = Field(default=0.0, ge=0, le=10_000)  # requests/s; 0: closed loop
    concurrency: int = Field(default=8, ge=1, le=4096)
    max_tokens: int = Field(default=128, ge=1, le=131_072)
    temperature: float = Field(default=0.0, ge=0, le=10)

    @property
    def sentence(self) -> str:
        """As `8 requests in flight, 128 tokens at most, temperature 0`."""
        arrival = (
            f"{self.arrival_rate:g} requests/s as a Poisson process"
            if self.arrival_rate
            else f"{self.concurrency} requests in flight"
        )
        return f"{arrival}, {self.max_tokens} tokens at most, temperature {self.temperature:g}"


class CanaryLimits(_Strict):
    """What must hold for a pass; what is absent is not judged."""

    min_agreement: Fraction | None = None
    min_similarity: Fraction | None = None
    max_refusal_shift: Fraction | None = None
    max_toxicity_shift: Fraction | None = None
    max_length_shift: Annotated[float, Field(ge=0, le=10)] | None = None
    max_latency_shift: Growth | None = None

    @property
    def by_measure(self) -> dict[str, float]:
        """Limits that there are, by what they are about."""
        values = self.model_dump(exclude_none=True)
        return {name.removeprefix("min_").removeprefix("max_"): v for name, v in values.items()}


class Side(_Strict):
    """One of the two variants: where it is, and how it is called in tables."""

    key: str
    model_name: str
    label: str
    model: ModelSpec
    recipe: StoredRecipe
    calibration_seed: int = 0
    variant_id: str = ""  # in the compression service; empty for an endpoint


class CanarySpec(StudySpec):
    """A study of two variants on a team's own prompts."""

    load: Load
    limits: CanaryLimits = CanaryLimits()
    variant: Side
    against: Side

    @model_validator(mode="after")
    def _sides_have_names(self) -> Self:
        if self.variant.key == self.against.key:
            raise ValueError("both sides have one key")
        return self


class SideFacts(_Strict):
    """What one side answered, and how fast. Latency leaves prompts out that do not fit."""

    key: str
    prompts: int
    answered: int
    refused: int
    unparsable: int
    overlength: int
    mean_completion_tokens: float
    mean_toxicity: float | None
    latency_p50: float  # seconds
    latency_p95: float
    latency_p99: float
    wall_seconds: float
    completions_per_second: float
    tokens_per_second: float
    segments: int


class Measure(_Strict):
    """One thing that changed, with its interval."""

    name: str
    value: float
    low: float
    high: float
    level: float
    method: str
    n_pairs: int
    verdict: Verdict | None = None
    limit: float | None = None


class CanaryFacts(_Strict):
    """What a canary found."""

    variant: SideFacts
    reference: SideFacts
    measures: tuple[Measure, ...]
    load: str
    notes: tuple[str, ...] = ()
