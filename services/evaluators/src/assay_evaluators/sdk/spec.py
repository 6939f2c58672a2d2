"""What an evaluation is asked to do, as a value that is stored and compared."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from assay_core.errors import InvalidArgument

Profile = Literal["standard", "paper"]
EXTERNAL = "external"
"""Family of engines that are somebody else's; see `EngineIdentity` in serving.proto."""


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

    @property
    def is_external(self) -> bool:
        """Whether an endpoint that is not ours answers, which promises no log-probabilities."""
        return self.engine.family == EXTERNAL


class Replay(_Value):
    """The load that prompts are sent under; see `Replay` in evaluation.proto.

    Attributes:
        run: Names the replay: another one generates anew.
        arrival_rate: Requests per second, open loop; 0: `concurrency` holds instead.
        concurrency: Requests in flight, closed loop.
        max_tokens: Most new tokens.
        temperature: 0 is greedy.
    """

    run: str
    arrival_rate: float = Field(default=0.0, ge=0)
    concurrency: int = Field(default=8, ge=1)
    max_tokens: int = Field(default=128, ge=1)
    temperature: float = Field(default=0.0, ge=0)


class Spec(_Value):
    """Everything that decides which numbers come out, apart from the parser.

    Attributes:
        dimension: Id of the dimension.
        pack_uri: Where the pack lies, as the caller names it.
        pack_digest: Digest of the pack.
        subject: Who answers.
        prompt_profile: `standard` (the model's own chat template) or `paper`.
        paper_template: The original's chat template of profile `paper`, by its name in the pack.
        sampling_profile: `standard` or `paper`.
        seed: Seed of all draws.
        row_limit: Most rows per scenario; 0 means all.
        scenarios: Scenarios to run; empty means those of the default metric.
        replay: How prompts arrive and are sampled, in the dimension whose prompts are replayed.
    """

    dimension: str
    pack_uri: str
    pack_digest: str
    subject: Subject
    prompt_profile: Profile = "standard"
    paper_template: str = ""
    sampling_profile: Profile = "standard"
    seed: int = Field(default=0, ge=0)
    row_limit: int = Field(default=0, ge=0)
    scenarios: tuple[str, ...] = ()
    replay: Replay | None = None

    def document(self) -> dict[str, Any]:
        """The specification as JSON; digests of evaluations without an option have none in it."""
        document = self.model_dump(mode="json")
        for option in ("paper_template", "replay"):
            if not document[option]:
                del document[option]
        return document

    def content(self) -> dict[str, Any]:
        """The specification without where the pack lies: its digest says what it is."""
        document = self.document()
        del document["pack_uri"]
        return document

    def check_template(self) -> None:
        """Refuses a template without its profile.

        Raises:
            InvalidArgument: If profile `standard` names a template. Profile `paper` without one is
                refused where the pack's templates are known.
        """
        if self.paper_template and self.prompt_profile != "paper":
            raise InvalidArgument.of(
                "spec.paper_template",
                "goes with prompt profile `paper`",
                remedy="set prompt_profile to `paper`, or leave paper_template empty",
            )
