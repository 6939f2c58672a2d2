"""Settings of the scoring service."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from assay_core.settings import ServiceSettings, service_config

Activation = Literal["", "sigmoid", "softmax"]


class CheckpointSettings(BaseModel):
    """A classifier on disk.

    Attributes:
        path: Directory in Hugging Face layout: config, tokenizer, safetensors.
        label: Label whose probability is the score; empty finds `toxicity` or `toxic`.
        activation: How logits become probabilities; empty follows the checkpoint's problem type.
        summary: What it was trained on and what its scale means.
        licence: Licence of its weights; empty takes the one of its model card.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(min_length=1)
    label: str = ""
    activation: Activation = ""
    summary: str = ""
    licence: str = ""


class ScoringSettings(ServiceSettings):
    """What the scoring service is told from outside; `--checkpoints` is the one that must be."""

    model_config = service_config("scoring")

    listen: str = Field(default="127.0.0.1:7403", description="gRPC address HOST:PORT.")
    checkpoints: dict[str, str | CheckpointSettings] = Field(
        min_length=1,
        description="Classifiers by name, as JSON; the first is the default: NAME to a directory,"
        ' or to {"path", "label", "activation", "summary", "licence"}.',
    )
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="auto (a GPU if there is one), cpu, cuda, cuda:N.",
    )
    batch_tokens: int = Field(
        default=16_384, ge=64, description="Most tokens of a batch, padding included."
    )
    threads: int = Field(
        default=0, ge=0, description="CPU threads of torch; 0 leaves torch's choice."
    )

    def checkpoint(self, name: str) -> CheckpointSettings:
        """A classifier's settings in full."""
        given = self.checkpoints[name]
        return CheckpointSettings(path=given) if isinstance(given, str) else given
