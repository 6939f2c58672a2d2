"""Settings of the coordinator."""

from __future__ import annotations

from pydantic import Field

from assay_core.settings import ServiceSettings, service_config


class CoordinatorSettings(ServiceSettings):
    """Addresses of the peers, patience with them, statistics."""

    model_config = service_config("coordinator")

    listen: str = Field(default="127.0.0.1:7400", description="gRPC address HOST:PORT.")
    compression: str = Field(default="127.0.0.1:7401", description="Address of compression.")
    serving: str = Field(default="127.0.0.1:7402", description="Address of serving.")
    evaluators: dict[str, str] = Field(
        default_factory=dict,
        description='Addresses of the evaluators by dimension, as JSON: {"ethics": "host:port"}.',
    )
    executor_id: str = Field(
        default="local",
        description="Stable id of this replica (a StatefulSet's pod name), another for each one "
        "on a database: a restarted replica takes up the workflows of its own id.",
    )
    executor_ttl_seconds: float = Field(
        default=30.0,
        ge=1,
        le=3600,
        description="How long a replica on Postgres may be silent until another takes its "
        "workflows over; it beats at a third of this.",
    )
    dbos_url: str = Field(
        default="",
        description="Database of the workflow engine; default: beside the coordinator's own.",
    )
    peer_patience_seconds: float = Field(
        default=1800.0, gt=0, description="How long a step waits for a peer that is away."
    )
    lease_ttl_seconds: float = Field(
        default=60.0, ge=1, le=3600, description="Lease on a model; renewed at a third of it."
    )
    load_timeout_seconds: float = Field(
        default=3600.0, gt=0, description="Longest wait for a model, its queue included."
    )
    max_active_studies: int = Field(
        default=64, ge=1, description="Studies of one project that may be active at once."
    )
    compression_concurrency: int = Field(
        default=1,
        ge=1,
        description="Compressions at once over all studies; the `workers` of compression.",
    )
    engine_concurrency: int = Field(
        default=1,
        ge=1,
        description="Variants evaluated at once over all studies; the `max_engines` of serving.",
    )
    plan_tokens_per_second: float = Field(
        default=1000.0,
        gt=0,
        description="Generated tokens per second that a plan's engine time is estimated with.",
    )
    bootstrap_replicates: int = Field(
        default=2000, ge=200, le=100_000, description="Draws of bootstrap and permutation."
    )
