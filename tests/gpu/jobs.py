"""One compression job in this process, on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from assay_compression.artifacts import artifact_key
from assay_compression.jobs.reports import Report, ResultReport
from assay_compression.jobs.spec import JobSpec
from assay_compression.planning import Planner
from assay_compression.settings import CompressionSettings
from assay_compression.worker.job import run_job
from assay_core.recipes import Calibration, Recipe
from assay_core.storage import ObjectStore


def make(
    home: Path, model: Path, recipe: Any, device: str, *, text: Path, samples: int, length: int
) -> Path:
    """The folder of the artifact, which a worker would make of the same request."""
    settings = CompressionSettings(home=home, device=device, calibrations={"demo": str(text)})
    parsed = Recipe.parse(recipe)
    calibration = Calibration(samples=samples, sequence_length=length, seed=0)
    plan = Planner(settings).plan(str(model), "", parsed, calibration)
    spec = JobSpec(
        **plan.model_dump(exclude={"disk_bytes"}),
        recipe=parsed.canonical(),
        data_uri=settings.data_uri,
        work_dir=settings.work_root / plan.variant_key.removeprefix("sha256:"),
        threads=settings.threads,
        device=device,
    )
    reports: list[Report] = []
    run_job(spec, reports.append)
    result = reports[-1]
    assert isinstance(result, ResultReport)
    return ObjectStore(spec.data_uri).local_path(artifact_key(result.artifact))
