"""What a worker is told: one JSON document per job. No code, no pickle, no request text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from assay_compression.checkpoint.scan import FileFacts


class CalibrationSpec(BaseModel):
    """The calibration text and how sequences are drawn from it.

    Attributes:
        digest: Digest of the text file.
        samples: Number of sequences.
        sequence_length: Tokens per sequence.
        seed: Seed of the draw.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    digest: str
    samples: int = Field(ge=1)
    sequence_length: int = Field(ge=1)
    seed: int = Field(ge=0)


class JobSpec(BaseModel):
    """One compression job.

    Attributes:
        schema_version: Version of this document.
        variant_key: Identity of what is made: model, recipe, calibration.
        checkpoint: Directory of the base checkpoint.
        architecture: As in config.json.
        files: Its files as they were when the job was accepted.
        model_digest: Content digest of the checkpoint.
        parent_digest: Artifact digest of the dense variant; None if this is the dense variant.
        recipe: Canonical form of the recipe.
        calibration: Identity of the calibration; None for methods that use no data.
        calibration_file: Where its text is.
        imported: Directory of a checkpoint that was compressed elsewhere; None for what is made
            here.
        imported_files: Its files as they were when the job was accepted.
        data_uri: Object store to publish in.
        work_dir: Directory of this job's resumable state.
        threads: Threads of tensor operations.
        device: `cpu` or `cuda`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    variant_key: str
    checkpoint: Path
    architecture: str
    files: dict[str, FileFacts]
    model_digest: str
    parent_digest: str | None
    recipe: dict[str, Any]
    calibration: CalibrationSpec | None
    calibration_file: Path | None
    imported: Path | None = None
    imported_files: dict[str, FileFacts] = {}
    data_uri: str
    work_dir: Path
    threads: int = Field(ge=1)
    device: Literal["cpu", "cuda"] = "cpu"
