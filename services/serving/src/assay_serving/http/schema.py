"""Requests of the OpenAI API that this server takes, as strict documents.

A field that this server cannot honour is refused, unless its value is the neutral one that some
clients always send. What has no effect on the answer (`user`, `metadata`, ...) is taken and left.
Source: https://platform.openai.com/docs/api-reference/completions and /chat.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MOST_COMPLETIONS = 256
"""Completions of one prompt, as in the gRPC contract."""

MOST_LOGPROBS = 20

Count = Annotated[int, Field(ge=0, lt=2**31)]
"""What the gRPC contract has as int32."""

TokenIds = Annotated[list[Count], Field(min_length=1)]
StopText = Annotated[str, StringConstraints(min_length=1)]
Neutral = Annotated[float, Field(ge=0, le=0)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class StreamOptions(_Document):
    """`include_usage` adds a last event with the token counts."""

    include_usage: bool = False
    include_obfuscation: bool = False


class GenerationRequest(_Document):
    """What completions and chat completions have in common."""

    model: str = Field(min_length=1, max_length=1024)
    n: int | None = Field(default=None, ge=1, le=MOST_COMPLETIONS)
    temperature: float | None = Field(default=None, ge=0, le=10)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: Count | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=16)] | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    stream: bool = False
    stream_options: StreamOptions | None = None

    # Neutral values only.
    frequency_penalty: Neutral | None = None
    presence_penalty: Neutral | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None

    # Taken and left.
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None

    @property
    def stop_texts(self) -> tuple[str, ...]:
        """Texts that end a completion."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with the token counts."""
        return self.stream_options is not None and self.stream_options.include_usage


class CompletionRequest(GenerationRequest):
    """`POST /v1/completions`: raw text or token ids; no chat template is applied.

    `logprobs` k also gives the k likeliest tokens at each position; with `echo` the prompt's own
    tokens come with theirs, which is how likelihoods are scored (`max_tokens` 0 generates nothing).
    """

    prompt: (
        str
        | TokenIds
        | Annotated[list[str], Field(min_length=1)]
        | Annotated[list[TokenIds], Field(min_length=1)]
    ) = Field(repr=False)
    max_tokens: Count | None = None
    logprobs: int | None = Field(default=None, ge=0, le=MOST_LOGPROBS)
    echo: bool = False
    best_of: int | None = Field(default=None, ge=1, le=1)
    suffix: Literal[""] | None = None


class TextPart(_Document):
    """A piece of a message's content; text is the only kind that is served."""

    type: Literal["text"]
    text: str = Field(repr=False)


class Message(_Document):
    """One turn; `name` as in the gRPC contract (`example_user` marks a demonstration)."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart] = Field(repr=False)
    name: str | None = Field(default=None, max_length=64)

    @property
    def text(self) -> str:
        """The content as one text."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class ResponseFormat(_Document):
    """Plain text is the only format that is served."""

    type: Literal["text"]


class ChatRequest(GenerationRequest):
    """`POST /v1/chat/completions`; without a limit the answer may fill the context."""

    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1, lt=2**31)
    max_completion_tokens: int | None = Field(default=None, ge=1, lt=2**31)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=MOST_LOGPROBS)
    response_format: ResponseFormat | None = None
    parallel_tool_calls: bool | None = None
