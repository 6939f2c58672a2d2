"""What an evaluation is asked to do, as a value that is stored and compared."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from assay_core.errors import Unimplemented

Profile = Literal["standard", "paper"]
PAPER_PROMPTS_REASON = (
    "prompt profile `paper` needs the original's own chat template of the model, which an"
    " evaluation cannot name yet"
)


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Engine(_Value):
    """What makes results of two engines comparable; see `EngineIdentity` in serving.proto."""

    family: str
    version: str
    dtype: str
    kv_cache_dtype: str
    max_model_len: int
    device_class: str


class Subject(_Value):
    """Who answers."""

    artifact_digest: str
    engine: Engine
    tokenizer_digest: str
    chat_template_digest: str


class Spec(_Value):
    """Everything that decides which numbers come out, apart from the parser.

    Attributes:
        dimension: Id of the dimension.
        pack_uri: Where the pack lies, as the caller names it.
        pack_digest: Digest of the pack.
        subject: Who answers.
        prompt_profile: `standard`; `paper` is refused with the reason.
        sampling_profile: `standard` or `paper`.
        seed: Seed of all draws.
        row_limit: Most rows per scenario; 0 means all.
        scenarios: Scenarios to run; empty means those of the default metric.
    """

    dimension: str
    pack_uri: str
    pack_digest: str
    subject: Subject
    prompt_profile: Profile = "standard"
    sampling_profile: Profile = "standard"
    seed: int = Field(default=0, ge=0)
    row_limit: int = Field(default=0, ge=0)
    scenarios: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The specification as JSON."""
        return self.model_dump(mode="json")

    def content(self) -> dict[str, Any]:
        """The specification without where the pack lies: its digest says what it is."""
        document = self.document()
        del document["pack_uri"]
        return document


def require_implemented(prompt_profile: str) -> None:
    """Refuses what the contract has and this build does not.

    Raises:
        Unimplemented: For prompt profile `paper`.
    """
    if prompt_profile == "paper":
        raise Unimplemented(
            PAPER_PROMPTS_REASON,
            field="spec.prompt_profile",
            reason="PROFILE_NOT_IMPLEMENTED",
            remedy="use prompt_profile `standard`",
        )
