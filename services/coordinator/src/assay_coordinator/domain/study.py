"""The specification of a study: what a user asks for, with defaults filled in."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
    model_validator,
)

from assay_coordinator.domain.policy import DimensionId, GatePolicy
from assay_core.recipes import Calibration, Dense, Recipe

DEFAULT_PARSER = "assay-2026"
Profile = Literal["standard", "paper"]
Digest = Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
ENDPOINT_PREFIX = "endpoint:"


def _recipe(value: Any) -> Recipe:
    return value if isinstance(value, Recipe) else Recipe.parse(value, "recipes[]")


# Read and written in the form that people write, because the plain dump of a method has no name.
StoredRecipe = Annotated[
    Recipe, BeforeValidator(_recipe), PlainSerializer(lambda recipe: recipe.canonical())
]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSpec(_Strict):
    """A base checkpoint in Hugging Face layout, or an external endpoint as it is."""

    uri: str = Field(
        min_length=1,
        max_length=1024,
        description="Directory, URI, `demo`, or `endpoint:NAME` of an endpoint that the operator "
        "of the serving service has named.",
    )
    revision: str = Field(default="", max_length=256)
    digest: Digest = Field(default="", description="Expected content digest; empty: not checked.")
    trust_remote_code: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"uri": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _endpoint_is_a_name(self) -> Self:
        if self.uri == ENDPOINT_PREFIX:
            raise ValueError("names no endpoint after `endpoint:`")
        if self.endpoint and (self.revision or self.digest or self.trust_remote_code):
            raise ValueError("of an endpoint is its name only: nothing here loads its weights")
        return self

    @property
    def endpoint(self) -> str:
        """Name of the external endpoint; empty for a checkpoint."""
        is_endpoint = self.uri.startswith(ENDPOINT_PREFIX)
        return self.uri.removeprefix(ENDPOINT_PREFIX) if is_endpoint else ""


class PackSpec(_Strict):
    """A data pack."""

    uri: str = Field(min_length=1, max_length=1024, description="Directory, URI, or `demo`.")
    digest: Digest = Field(default="", description="Expected digest; empty: not checked.")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"uri": value} if isinstance(value, str) else value


class EarlyStopping(_Strict):
    """Evaluate variants in growing blocks of rows; stop where the interval decides the margin."""

    first_rows: int = Field(
        default=40, ge=10, le=1_000_000, description="Rows per scenario of the first look."
    )
    growth: float = Field(default=2.0, gt=1.0, le=10.0, description="Rows of a look over the last.")

    def limits(self, rows: int) -> list[int]:
        """Row limits of the looks; the last one is all `rows`."""
        found: list[int] = []
        limit = float(self.first_rows)
        while limit < rows:
            found.append(int(limit))
            limit = max(limit * self.growth, limit + 1)
        return [*found, rows]


class StudySpec(_Strict):
    """The matrix models x recipes x calibration seeds x dimensions."""

    name: str = Field(min_length=1, max_length=128, description="Name for people.")
    models: tuple[ModelSpec, ...] = Field(min_length=1, max_length=64)
    recipes: tuple[StoredRecipe, ...] = Field(
        min_length=1, max_length=128, description="`dense` is added: the others compare with it."
    )
    calibration: Calibration = Calibration()
    calibration_seeds: tuple[Seed, ...] = Field(
        default=(0,), min_length=1, max_length=32, description="One variant per recipe and seed."
    )
    dimensions: tuple[DimensionId, ...] = Field(min_length=1, max_length=32)
    pack: PackSpec
    prompt_profile: Profile = "standard"
    paper_template: str = Field(
        default="",
        max_length=64,
        description="With prompt profile `paper`: the original's chat template, by its name in the"
        " pack (`llama-2`, `vicuna_v1.1`, `redpajama-incite-instruct`).",
    )
    sampling_profile: Profile = "standard"
    parser_versions: tuple[str, ...] = Field(
        default=(DEFAULT_PARSER,),
        min_length=1,
        max_length=8,
        description="The first is the main one.",
    )
    row_limit: int = Field(default=0, ge=0, description="Most rows per scenario; 0 means all.")
    seed: Seed = Field(default=0, description="Seed of sampling and of the choice of rows.")
    priority: int = Field(
        default=0,
        ge=-100,
        le=100,
        description="Among variants of several studies that wait for a compression device or an"
        " engine, those of the higher priority go first; equals take turns.",
    )
    gate: GatePolicy | None = Field(default=None, description="Absent: no verdict.")
    early_stopping: EarlyStopping | None = Field(
        default=None, description="Absent: every row is evaluated."
    )
    reference: str = Field(
        default="",
        max_length=256,
        description="What every other variant is compared with: the key of a variant, or the short"
        " name of a model for its dense variant. Absent: each model's own dense variant, or with an"
        " endpoint in `models` the first model.",
    )

    profile: bool = Field(
        default=False,
        description="Measure each variant's latency, throughput and memory on the engine that"
        " evaluated it.",
    )

    @field_validator("dimensions", "calibration_seeds", "parser_versions")
    @classmethod
    def _unique(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(value)) != len(value):
            raise ValueError("lists one value twice")
        return value

    @field_validator("recipes")
    @classmethod
    def _with_dense(cls, value: tuple[Recipe, ...], info: ValidationInfo) -> tuple[Recipe, ...]:
        endpoints = [model.uri for model in info.data.get("models", ()) if model.endpoint]
        others = [recipe.label() for recipe in value if recipe.name != "dense"]
        if endpoints and others:
            raise ValueError(
                f"names {others[0]}, but {endpoints[0]} cannot be compressed: with an endpoint in"
                " `models` the only recipe is dense"
            )
        if any(recipe.name == "dense" for recipe in value):
            return value
        return (Recipe(method=Dense()), *value)

    @model_validator(mode="after")
    def _template_goes_with_its_profile(self) -> Self:
        if (self.prompt_profile == "paper") != bool(self.paper_template):
            raise ValueError("paper_template goes with prompt_profile `paper`, and is needed there")
        return self

    @property
    def prompts_asked(self) -> str:
        """The prompt profile, with the original's chat template where it names one."""
        template = f": {self.paper_template}" if self.paper_template else ""
        return f"{self.prompt_profile}{template}"

    @property
    def has_one_reference(self) -> bool:
        """Whether all variants are compared with one, instead of each with its dense parent."""
        return bool(self.reference) or any(model.endpoint for model in self.models)

    @property
    def main_parser(self) -> str:
        """Parser version of the comparisons and the gate."""
        return self.parser_versions[0]
