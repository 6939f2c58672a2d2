"""Completions that changed between a variant and its reference; with texts only where allowed."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

FlipKind = Literal[
    "lost", "refused", "unparsable", "gained", "no longer refused", "no longer unparsable",
    "changed",
]  # fmt: skip
FLIP_KINDS: tuple[FlipKind, ...] = get_args(FlipKind)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FlipTexts(_Part):
    """Prompt and both completions; only in a report that was asked for with examples."""

    prompt: str
    completion: str
    reference_completion: str


class Flip(_Part):
    """One completion that changed. Values are what enters the score of the scenario."""

    scenario: str
    sample_id: str
    completion_index: int
    kind: FlipKind
    verdict: str
    value: float | None = None
    reference_verdict: str
    reference_value: float | None = None
    texts: FlipTexts | None = None


class FlipGroup(_Part):
    """The flips of one variant in one dimension, by the main parser."""

    variant_key: str
    reference_key: str
    dimension: str
    compared: int  # completions that both sides have
    counts: dict[FlipKind, int] = {}
    flips: tuple[Flip, ...] = ()  # a bounded number, every kind in turn
    texts_withheld: str = ""  # why texts that were asked for are not shown

    @property
    def total(self) -> int:
        """Completions that changed."""
        return sum(self.counts.values())
