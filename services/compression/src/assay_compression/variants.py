"""Variants as records: what is stored with each, and how long each state may last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from assay_compression.jobs.spec import JobSpec
from assay_compression.planning import Plan
from assay_compression.settings import CompressionSettings
from assay_core.digest import digest_of, hex_of
from assay_core.recipes import Recipe
from assay_core.resources import JsonField, Record

TABLE = "variants"
FILTERS = {
    "model": JsonField("spec.model_uri"),
    "model_digest": JsonField("spec.model_digest"),
    "method": JsonField("spec.method"),
    "label": JsonField("spec.label"),
    "artifact": JsonField("status.artifact"),
}


class VariantSpec(BaseModel):
    """What was asked for; never changes.

    Attributes:
        model_uri: As the request named it.
        model_digest: Content digest of the checkpoint.
        recipe: Canonical form.
        method: Name of the method.
        label: Short name for tables.
        calibration: Canonical form; None for methods that use no data.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_uri: str
    model_digest: str
    recipe: dict[str, Any]
    method: str
    label: str
    calibration: dict[str, Any] | None


class VariantStatus(BaseModel):
    """What is known by now.

    Attributes:
        plan: What the job does.
        artifact: Digest of the artifact, once it is there.
        cache_hit: Whether the artifact was there before the variant.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: Plan
    artifact: str | None = None
    cache_hit: bool = False


def variant_id(project: str, variant_key: str) -> str:
    """Id of a variant: one per project and content."""
    return f"var-{hex_of(digest_of([project, variant_key]))[:24]}"


def work_dir(settings: CompressionSettings, variant_key: str) -> Path:
    """Where the resumable state of a variant's job is."""
    return settings.work_root / hex_of(variant_key)


def spec_of(record: Record) -> VariantSpec:
    """The typed spec of a record."""
    return VariantSpec.model_validate(record.spec)


def status_of(record: Record) -> VariantStatus:
    """The typed status of a record."""
    return VariantStatus.model_validate(record.status)


def job_of(record: Record, settings: CompressionSettings, device: str) -> JobSpec:
    """The job that makes a variant, on a device of this server: `cpu`, `cuda`, `cuda:1`."""
    plan, spec = status_of(record).plan, spec_of(record)
    return JobSpec(
        variant_key=plan.variant_key,
        checkpoint=plan.checkpoint,
        architecture=plan.architecture,
        files=plan.files,
        model_digest=plan.model_digest,
        parent_digest=plan.parent_digest,
        recipe=Recipe.parse(spec.recipe).canonical(),
        calibration=plan.calibration,
        calibration_file=plan.calibration_file,
        imported=plan.imported,
        imported_files=plan.imported_files,
        data_uri=settings.data_uri,
        work_dir=work_dir(settings, plan.variant_key),
        threads=settings.threads,
        # A worker on one of several accelerators sees that one alone.
        device="cuda" if device.startswith("cuda") else "cpu",
    )
