"""Settings of an evaluator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from assay_core.settings import ServiceSettings, is_loopback, service_config
from assay_evaluators.sdk.generate import Limits


class EvaluatorSettings(ServiceSettings):
    """What an evaluator is told from outside; `--dimension` is the one that must be given."""

    model_config = service_config("evaluator")

    listen: str = Field(default="127.0.0.1:7410", description="gRPC address HOST:PORT.")
    dimension: str = Field(description="Dimension to serve, an installed entry point.")
    serving: str = Field(default="127.0.0.1:7402", description="Address of the serving gateway.")
    scoring: str = Field(
        default="",
        description="Address of a scoring service with further toxicity classifiers; none: only"
        " the embedded one.",
    )
    scorer: str = Field(
        default="",
        description="Id of the classifier behind the dimension's own metric; none: the embedded"
        " one. Another one is asked of the scoring service.",
    )
    packs: dict[str, str] = Field(
        default_factory=dict, description="Data packs by name, as JSON: NAME to path or URI."
    )
    pack_prefixes: tuple[str, ...] = Field(
        default=(),
        description="Paths or URIs below which requests may name packs; without any: every local"
        " path when listening on loopback, else the data root only.",
    )
    in_flight: int = Field(
        default=512, ge=1, le=65536, description="Most completions asked for at a time."
    )
    generate_attempts: int = Field(
        default=5, ge=1, le=100, description="Streams without progress before a model is gone."
    )
    evaluations_at_once: int = Field(
        default=4, ge=1, le=64, description="Evaluations that run at a time; others are QUEUED."
    )

    @property
    def limits(self) -> Limits:
        """Bounds of generating."""
        return Limits(in_flight=self.in_flight, attempts=self.generate_attempts)

    @property
    def allowed_prefixes(self) -> tuple[str, ...]:
        """Where packs named by requests may lie."""
        if self.pack_prefixes:
            return (*self.pack_prefixes, self.data_uri)
        return ("/", self.data_uri) if is_loopback(self.listen) else (self.data_uri,)

    @model_validator(mode="before")
    @classmethod
    def _own_database(cls, values: dict[str, Any]) -> dict[str, Any]:
        """One SQLite file per dimension: evaluators of one machine do not share a table."""
        if values.get("database_url") or not values.get("dimension"):
            return values
        home = Path(values.get("home") or ".assay").expanduser().absolute()
        file = home / "db" / f"evaluator-{values['dimension']}.sqlite"
        return values | {"database_url": f"sqlite:///{file}"}
