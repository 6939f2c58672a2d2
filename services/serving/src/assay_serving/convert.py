"""Protobuf to domain values and back; protobuf stops here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from google.protobuf.duration_pb2 import Duration

from assay_core.errors import InvalidArgument, to_proto
from assay_core.limits import MAX_MESSAGE_BYTES
from assay_core.pb import serving_pb2 as pb
from assay_serving.domain import (
    Answer,
    ChatMessage,
    ChatPrompt,
    Completion,
    Delta,
    EngineIdentity,
    EngineOptions,
    Failure,
    FailureKind,
    FinishReason,
    Item,
    Prompt,
    Result,
    Sampling,
    TextPrompt,
    TokenLogprob,
    TokenPrompt,
)
from assay_serving.failures import item_error
from assay_serving.profiling import Load, Profile

RESPONSE_BYTES = 2 * 2**20
"""Largest answer we build; half of what a channel takes."""

LARGEST_COMPLETION = MAX_MESSAGE_BYTES - 2**16
"""A completion with more log-probabilities than that fits no message."""

DEFAULT_MAX_TOKENS = 16

_FINISH = {
    FinishReason.STOP: pb.FINISH_REASON_STOP,
    FinishReason.LENGTH: pb.FINISH_REASON_LENGTH,
}


def engine_options(message: pb.EngineOptions) -> EngineOptions:
    """Options as they are asked for; what is absent is left to the settings."""
    return EngineOptions(
        dtype=message.dtype,
        kv_cache_dtype=message.kv_cache_dtype,
        max_model_len=message.max_model_len,
        tensor_parallel_size=message.tensor_parallel_size,
        replicas=message.replicas,
        max_replicas=message.max_replicas,
        target_ongoing_requests=message.target_ongoing_requests,
        gpu_share=message.gpu_share,
        kv_cache_gib=message.kv_cache_gib,
    )


def engine_identity(identity: EngineIdentity) -> pb.EngineIdentity:
    """Identity of an engine as a message."""
    return pb.EngineIdentity(
        family=identity.family,
        version=identity.version,
        dtype=identity.dtype,
        kv_cache_dtype=identity.kv_cache_dtype,
        max_model_len=identity.max_model_len,
        device_class=identity.device_class,
    )


def seconds(duration: Duration) -> float:
    """A duration in seconds."""
    return duration.seconds + duration.nanos / 1e9


def duration(value: float) -> Duration:
    """Seconds as a duration."""
    message = Duration()
    message.FromNanoseconds(round(value * 1e9))
    return message


def from_now(value: float) -> datetime:
    """The wall-clock time in so many seconds."""
    return datetime.now(UTC) + timedelta(seconds=value)


def items(messages: Sequence[pb.GenerateItem]) -> list[Item]:
    """The items of one message.

    Raises:
        InvalidArgument: Two items have one id, or an item's own fields contradict each other.
    """
    converted = [_item(message, f"items[{i}]") for i, message in enumerate(messages)]
    seen: set[str] = set()
    for position, item in enumerate(converted):
        if item.id in seen:
            raise InvalidArgument.of(
                f"items[{position}].id",
                "is used twice in one message",
                remedy="give every item of a stream an id of its own",
            )
        seen.add(item.id)
    return converted


def completions(answers: Iterable[Answer]) -> Iterator[list[pb.Completion]]:
    """Finished completions as messages, in groups that each stay below `RESPONSE_BYTES`."""
    group: list[pb.Completion] = []
    size = 0
    for result in answers:
        if isinstance(result, Delta):
            continue
        message = _completed(result) if isinstance(result, Completion) else _failed(result)
        if message.ByteSize() > LARGEST_COMPLETION:
            message = _failed(_too_large(result))
        length = message.ByteSize() + 8
        if group and size + length > RESPONSE_BYTES:
            yield group
            group, size = [], 0
        group.append(message)
        size += length
    if group:
        yield group


def profile_load(message: pb.ProfileModelRequest) -> Load:
    """What to measure with, defaults filled in."""
    given = {
        "prompt_tokens": message.prompt_tokens,
        "completion_tokens": message.completion_tokens,
        "concurrency": message.concurrency,
        "requests": message.requests,
    }
    return Load(**{name: value for name, value in given.items() if value})


def profiled(measured: Profile) -> pb.ProfileModelResponse:
    """What was measured as a message."""
    return pb.ProfileModelResponse(
        ttft_p50=duration(measured.ttft_p50),
        ttft_p95=duration(measured.ttft_p95),
        tokens_per_second=measured.tokens_per_second,
        memory_bytes=measured.memory_bytes,
    )


def _item(message: pb.GenerateItem, where: str) -> Item:
    has_seed = message.HasField("seed")
    return Item(
        id=message.id,
        prompt=_prompt(message),
        sampling=_sampling(message.sampling, where),
        indices=_indices(message, where),
        seed=message.seed if has_seed else None,
    )


def _indices(message: pb.GenerateItem, where: str) -> tuple[int, ...]:
    wanted = tuple(message.completion_indices)
    if len(set(wanted)) != len(wanted):
        raise InvalidArgument.of(
            f"{where}.completion_indices", "names an index twice", remedy="name each index once"
        )
    return wanted or tuple(range(message.n or 1))


def _prompt(message: pb.GenerateItem) -> Prompt:
    match message.WhichOneof("prompt"):
        case "tokens":
            return TokenPrompt(tuple(message.tokens.ids))
        case "chat":
            return ChatPrompt(
                tuple(
                    ChatMessage(turn.role, turn.content, turn.name or None)
                    for turn in message.chat.messages
                )
            )
        case _:
            return TextPrompt(message.text)


def _sampling(message: pb.SamplingParameters, where: str) -> Sampling:
    if "" in message.stop:
        raise InvalidArgument.of(
            f"{where}.sampling.stop", "has an empty text", remedy="leave it out"
        )
    return Sampling(
        temperature=message.temperature if message.HasField("temperature") else 1.0,
        top_p=message.top_p if message.HasField("top_p") else 1.0,
        top_k=message.top_k,
        max_tokens=message.max_tokens or DEFAULT_MAX_TOKENS,
        stop=tuple(message.stop),
        logprobs=message.logprobs,
        prompt_logprobs=message.prompt_logprobs,
        keep_special_tokens=message.keep_special_tokens,
    )


def _completed(result: Completion) -> pb.Completion:
    return pb.Completion(
        id=result.item_id,
        index=result.index,
        text=result.text,
        finish_reason=_FINISH[result.finish_reason],
        prompt_tokens=result.prompt_tokens,
        completion_tokens=result.completion_tokens,
        logprobs=[_logprob(entry) for entry in result.logprobs],
        prompt_logprobs=[_logprob(entry) for entry in result.prompt_logprobs],
        prompt_digest=result.prompt_digest,
    )


def _failed(failure: Failure) -> pb.Completion:
    overlength = failure.kind is FailureKind.OVERLENGTH
    return pb.Completion(
        id=failure.item_id,
        index=failure.index,
        finish_reason=pb.FINISH_REASON_OVERLENGTH if overlength else pb.FINISH_REASON_ERROR,
        prompt_tokens=failure.prompt_tokens,
        prompt_digest=failure.prompt_digest,
        error=to_proto(item_error(failure)),
    )


def _too_large(result: Result) -> Failure:
    return Failure(
        result.item_id,
        result.index,
        FailureKind.INVALID_ITEM,
        "sampling.logprobs makes the answer larger than a message may be",
        field="sampling.logprobs",
        remedy="ask for fewer alternatives, or score a shorter prompt",
        prompt_tokens=result.prompt_tokens,
        prompt_digest=result.prompt_digest,
    )


def _logprob(entry: TokenLogprob) -> pb.TokenLogprob:
    return pb.TokenLogprob(
        token_id=entry.token_id,
        logprob=entry.logprob,
        text=entry.text,
        top=[_logprob(other) for other in entry.top],
    )
