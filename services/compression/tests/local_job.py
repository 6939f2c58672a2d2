"""One job in this process, without a service around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from assay_compression import artifacts
from assay_compression.jobs.reports import Report
from assay_compression.jobs.spec import JobSpec
from assay_compression.planning import Planner
from assay_compression.settings import CompressionSettings
from assay_compression.worker.job import run_job
from assay_core.recipes import Calibration, Recipe
from assay_core.storage import ObjectStore


def job(home: Path, model: Path, recipe: Any, calibration: Path, **changes: Any) -> JobSpec:
    settings = CompressionSettings(home=home, calibrations={"demo": str(calibration)})
    parsed = Recipe.parse(recipe)
    drawn = Calibration(samples=8, sequence_length=32, seed=0)
    plan = Planner(settings).plan(str(model), "", parsed, drawn)
    known = plan.model_dump(exclude={"disk_bytes"})
    return JobSpec(
        **known,
        recipe=parsed.canonical(),
        data_uri=settings.data_uri,
        work_dir=settings.work_root / plan.variant_key.removeprefix("sha256:"),
        threads=1,
        **changes,
    )


def make(home: Path, model: Path, recipe: Any, calibration: Path) -> Path:
    """The folder of the artifact."""
    spec = job(home, model, recipe, calibration)
    reports: list[Report] = []
    run_job(spec, reports.append)
    store = ObjectStore(spec.data_uri)
    return store.local_path(artifacts.artifact_key(reports[-1].artifact))
