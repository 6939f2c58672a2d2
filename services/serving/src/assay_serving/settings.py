"""Settings of the serving service: `ASSAY_SERVING_*`, flags, YAML."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from assay_core.settings import ServiceSettings, is_loopback, service_config, split_address
from assay_serving.domain import EngineOptions
from assay_serving.endpoints import NAME_PATTERN, EndpointSettings
from assay_serving.residency import GIB, Limits


class ServingSettings(ServiceSettings):
    """What the gateway is told from outside."""

    model_config = service_config("serving")

    listen: str = Field(default="127.0.0.1:7402", description="gRPC address HOST:PORT.")
    artifact_prefixes: list[str] = Field(
        default_factory=list,
        description="URI prefixes artifacts are read from, besides data_uri; on loopback the "
        "default is every local path.",
    )
    ray_address: str = Field(
        default="",
        description="Address of a Ray cluster this process is a member of; default: "
        "start a small local one.",
    )
    object_store_mib: int = Field(default=100, ge=80, description="Shared memory of local Ray.")
    engine_metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Port on which local Ray serves its own and vLLM's metrics; 0: none are kept. "
        "In a Ray cluster any other number turns vLLM's on; the cluster has its own port.",
    )
    max_engines: int = Field(
        default=1, ge=1, description="Engines at once; the least recently used idle one makes room."
    )
    max_in_flight: int = Field(
        default=1024, ge=1, description="Completions in flight per replica; more wait their turn."
    )
    max_model_len: int = Field(
        default=8192, ge=16, description="Context of an engine in tokens, bounded by the model."
    )
    memory_budget_gib: float = Field(
        default=0.0,
        ge=0,
        description="Memory of all engines together, weights and KV caches, in GiB: the least "
        "recently used idle one makes room; 0: only max_engines counts.",
    )
    kv_cache_gib: int = Field(
        default=0,
        ge=0,
        description="KV cache of a replica in GiB; 0: 1 on a CPU, on a GPU what the model leaves.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="Data type of engines; `auto`: float32 on a CPU."
    )
    kv_cache_dtype: Literal["auto", "fp8"] = Field(
        default="auto", description="Data type of KV caches."
    )
    tensor_parallel_size: int = Field(default=1, ge=1, le=64, description="GPUs per replica.")
    replicas: int = Field(default=1, ge=1, le=256, description="Replicas of an engine.")
    max_replicas: int = Field(
        default=0, ge=0, le=256, description="Most replicas of an engine that scales; 0: none does."
    )
    target_ongoing_requests: float = Field(
        default=2.0, gt=0, description="Batches in flight per replica that scaling aims at."
    )
    gpu_share: float = Field(
        default=0.0, ge=0, le=1, description="Share of a GPU that a replica takes; 0: a whole one."
    )
    engine_threads: int = Field(
        default=0, ge=0, description="Threads of a CPU replica; 0 means every core."
    )
    device_class: str = Field(
        default="", description="Device class in engine identities; default `cpu` or `cuda`."
    )
    start_seconds: float = Field(
        default=1800.0,
        gt=0,
        description="Longest time of an engine's start or swap; what has not started by then, for "
        "want of GPUs or of room for its replicas, fails.",
    )
    lease_seconds: float = Field(
        default=60.0, gt=0, description="Time to live of a renewed lease that names none."
    )
    max_lease_seconds: float = Field(
        default=3600.0, gt=0, description="Longest time to live of a lease."
    )

    endpoints: dict[Annotated[str, StringConstraints(pattern=NAME_PATTERN)], EndpointSettings] = (
        Field(
            default_factory=dict,
            description="External OpenAI-compatible endpoints by the name that LoadModel gives: "
            "{NAME: {url, model, secret, projects, ...}}.",
        )
    )
    http_listen: str = Field(
        default="", description="OpenAI-compatible HTTP address HOST:PORT; empty: no such listener."
    )

    @field_validator("http_listen")
    @classmethod
    def _is_http_address(cls, value: str) -> str:
        if value:
            split_address(value)
        return value

    @field_validator("ray_address")
    @classmethod
    def _is_member(cls, value: str) -> str:
        if value.startswith("ray://"):
            raise ValueError(
                "must be the GCS address HOST:PORT: through ray:// (Ray Client) Serve handles do "
                "not stream, so the gateway has to be a member of the cluster"
            )
        return value

    @property
    def allowed_prefixes(self) -> tuple[str, ...]:
        """Where artifacts may be read from."""
        given = tuple(self.artifact_prefixes)
        everywhere = ("file:///",) if not given and is_loopback(self.listen) else ()
        return (self.data_uri, *given, *everywhere)

    @property
    def limits(self) -> Limits:
        """What engines may take together."""
        return Limits(self.max_engines, round(self.memory_budget_gib * GIB))

    @property
    def engine_options(self) -> EngineOptions:
        """What LoadModel leaves open."""
        return EngineOptions(
            dtype=self.dtype,
            kv_cache_dtype=self.kv_cache_dtype,
            tensor_parallel_size=self.tensor_parallel_size,
            replicas=self.replicas,
            max_replicas=self.max_replicas,
            target_ongoing_requests=self.target_ongoing_requests,
            gpu_share=self.gpu_share,
            kv_cache_gib=self.kv_cache_gib,
        )

    @property
    def threads(self) -> int:
        """Threads of a CPU replica."""
        return self.engine_threads or os.cpu_count() or 1

    @property
    def download_cache(self) -> Path:
        """Where remote artifacts are kept on this machine."""
        return self.home / "cache" / "artifacts"
