"""Words of the serving service as plain values: what is asked of an engine and what comes back.

These cross the border between the gateway and the Ray Serve replicas, so they are small, frozen and
free of protobuf. Prompt and completion text is left out of every `repr`, so that no log line or
traceback of ours can carry it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

EXTERNAL = "external"
"""Family and device of engines that are not ours."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn. `name` marks few-shot demonstrations in the OpenAI convention (`example_user`)."""

    role: str
    content: str = field(repr=False)
    name: str | None = None


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    """A prompt the caller tokenized; nothing is added to it."""

    ids: tuple[int, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """Raw text; the tokenizer adds its own special tokens (a BOS, say) and nothing else."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """Messages rendered by the model's chat template, or by the documented plain one."""

    messages: tuple[ChatMessage, ...] = field(repr=False)


Prompt = TokenPrompt | TextPrompt | ChatPrompt


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn: `temperature` 0 is greedy, `top_k` 0 and `top_p` 1 filter nothing.

    `max_tokens` None means as many as the context has room for. `logprobs` k gives the k likeliest
    tokens at each position, of the prompt too with `prompt_logprobs`.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int | None = 16
    stop: tuple[str, ...] = ()
    logprobs: int = 0
    prompt_logprobs: bool = False
    keep_special_tokens: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt and the completions wanted of it; completion k draws with seed `seed + k`.

    With `stream` a completion comes piece by piece (`Delta`) before it comes as a whole. With
    `echo` the whole also has the texts of the prompt's tokens.
    """

    id: str
    prompt: Prompt = field(repr=False)
    sampling: Sampling
    indices: tuple[int, ...] = (0,)
    seed: int | None = None
    stream: bool = False
    echo: bool = False


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token, the natural logarithm of its probability, and the likeliest at its position."""

    token_id: int
    logprob: float
    text: str = field(default="", repr=False)
    top: tuple[TokenLogprob, ...] = field(default=(), repr=False)


class FinishReason(StrEnum):
    """Why a completion ended."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Completion:
    """One finished completion. `prompt_digest` is the digest of the token ids the model saw.

    `cached_tokens` of the prompt came from the prefix cache.
    """

    item_id: str
    index: int
    text: str = field(repr=False)
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    artifact_digest: str
    prompt_digest: str
    logprobs: tuple[TokenLogprob, ...] = field(default=(), repr=False)
    prompt_logprobs: tuple[TokenLogprob, ...] = field(default=(), repr=False)
    prompt_texts: tuple[str, ...] = field(default=(), repr=False)
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of a completion that is still being generated."""

    item_id: str
    index: int
    text: str = field(repr=False)
    tokens: int
    logprobs: tuple[TokenLogprob, ...] = field(default=(), repr=False)


class FailureKind(StrEnum):
    """Why one completion of a batch has no text; the others are unaffected."""

    OVERLENGTH = "OVERLENGTH"
    INVALID_ITEM = "INVALID_ITEM"
    WRONG_WEIGHTS = "WRONG_WEIGHTS"
    ENGINE_DEAD = "ENGINE_DEAD"
    ENGINE_REFUSED = "ENGINE_REFUSED"
    ENDPOINT_REFUSED = "ENDPOINT_REFUSED"


@dataclass(frozen=True, slots=True)
class Failure:
    """A completion that the engine did not give: the class and a message without prompt text."""

    item_id: str
    index: int
    kind: FailureKind
    message: str
    field: str | None = None
    remedy: str | None = None
    prompt_tokens: int = 0
    prompt_digest: str = ""


Result = Completion | Failure
"""The end of one completion."""

Answer = Result | Delta
"""What comes out of an engine."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What a caller asks of an engine; empty and 0 leave the choice to the server's settings."""

    dtype: str = ""
    kv_cache_dtype: str = ""
    max_model_len: int = 0
    tensor_parallel_size: int = 0
    replicas: int = 0
    max_replicas: int = 0
    target_ongoing_requests: float = 0.0
    gpu_share: float = 0.0
    kv_cache_gib: int = 0

    def over(self, defaults: EngineOptions) -> EngineOptions:
        """These options, with defaults for what they leave open."""
        chosen = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(defaults, **{name: value for name, value in chosen.items() if value})


DEFAULT_OPTIONS = EngineOptions(
    dtype="auto",
    kv_cache_dtype="auto",
    tensor_parallel_size=1,
    replicas=1,
    target_ongoing_requests=2.0,
)


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Everything that is fixed for the life of an engine; weights are not part of it."""

    dtype: str
    kv_cache_dtype: str
    max_model_len: int
    tensor_parallel_size: int = 1
    replicas: int = 1
    device: str = "cpu"
    max_replicas: int = 0
    target_ongoing_requests: float = 0.0
    gpu_share: float = 0.0
    kv_cache_gib: int = 0

    @property
    def external(self) -> bool:
        """Whether the engine is an endpoint of somebody else."""
        return self.device == EXTERNAL

    @property
    def most_replicas(self) -> int:
        """Replicas at its largest."""
        return max(self.replicas, self.max_replicas)


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """What makes two results comparable: family and version of the engine, precision, device."""

    family: str
    version: str
    dtype: str
    kv_cache_dtype: str
    max_model_len: int
    device_class: str


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """What one replica holds now; `failure` is the error document of why it holds nothing."""

    replica: str
    digest: str | None
    ready: bool
    swapped: bool = False
    load_seconds: float = 0.0
    failure: dict[str, Any] | None = None
