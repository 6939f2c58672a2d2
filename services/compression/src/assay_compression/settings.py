"""Settings of the compression service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from assay_core.settings import ServiceSettings, is_loopback, service_config


class CompressionSettings(ServiceSettings):
    """What the compression service is told from outside, beyond what every service is told."""

    model_config = service_config("compression")

    listen: str = Field(default="127.0.0.1:7401", description="gRPC address HOST:PORT.")
    model_prefixes: list[str] = Field(
        default=[],
        description="Folders that models and calibration text may be read from, and URI prefixes "
        "(s3://bucket/texts) for calibration text. Empty means everywhere for a server on "
        "loopback, and nowhere for any other.",
    )
    models: dict[str, str] = Field(
        default={"demo": "models/demo/model"},
        description="Folders of models that requests may call by name; always readable.",
    )
    calibrations: dict[str, str] = Field(
        default={"demo": "packs/demo/data/calibration.jsonl"},
        description="Calibration files that requests may call by name; always readable.",
    )
    workers: int = Field(default=1, ge=1, le=64, description="Jobs that run at once.")
    worker_threads: int = Field(
        default=0, ge=0, le=1024, description="Threads per worker; 0 shares the CPUs out."
    )
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="Where workers compute.")
    devices: list[Annotated[str, Field(pattern=r"^(cpu|cuda:\d+)$")]] = Field(
        default=[],
        description='Devices of the workers, one each: ["cuda:0", "cuda:1"]. Takes the place of '
        "`workers` and `device`; a job waits while all are taken.",
    )
    disk_reserve_bytes: int = Field(
        default=256 << 20, ge=0, description="Free bytes of disk that a job must leave."
    )
    worker_idle_seconds: float = Field(
        default=120, ge=0, description="How long an idle worker keeps its libraries in memory."
    )
    worker_attempts: int = Field(
        default=3, ge=1, le=10, description="Starts of a job whose worker dies, before it fails."
    )

    @property
    def places(self) -> list[str]:
        """The device of every worker."""
        return self.devices or [self.device] * self.workers

    @property
    def threads(self) -> int:
        """Threads of one worker."""
        return self.worker_threads or max(1, _cpus() // len(self.places))

    @property
    def work_root(self) -> Path:
        """Folder of the jobs' resumable state."""
        return self.home / "work" / "compression"

    @property
    def scan_cache(self) -> Path:
        """Folder of remembered file digests."""
        return self.home / "cache" / "checkpoints"

    @property
    def job_logs(self) -> Path:
        """Folder of the workers' logs."""
        return self.home / "logs" / "compression-jobs"

    @property
    def readable_prefixes(self) -> list[Path]:
        """Folders that requests may name paths in."""
        if not self.model_prefixes and is_loopback(self.listen):
            return [Path("/")]
        local = (p.removeprefix("file://") for p in self.model_prefixes)
        return [Path(path).expanduser().resolve() for path in local if "://" not in path]

    @property
    def remote_prefixes(self) -> list[str]:
        """URI prefixes that calibration text may be read from; `*` for everywhere."""
        if not self.model_prefixes and is_loopback(self.listen):
            return ["*"]
        return [p for p in self.model_prefixes if "://" in p and not p.startswith("file://")]

    @property
    def calibration_cache(self) -> Path:
        """Folder of calibration texts that were fetched from object stores."""
        return self.home / "cache" / "calibration"


def _cpus() -> int:
    # What this process may use, which in a container is less than what the machine has.
    return len(os.sched_getaffinity(0))
