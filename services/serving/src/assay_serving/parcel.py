"""What crosses processes as bytes: MessagePack of plain values, read into the types that are named.

A batch goes gateway, Ray's process, replica, and its answers go back. It is packed once and opened
once, and the processes between pass the bytes on. Reading cannot run code, and what is not of the
type is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from assay_serving.domain import (
    Answer,
    ChatMessage,
    ChatPrompt,
    Completion,
    Delta,
    Failure,
    Item,
    Prompt,
    Sampling,
    TextPrompt,
    TokenPrompt,
)

ValueT = TypeVar("ValueT")

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder()


def pack(value: Any) -> bytes:
    """A plain value (numbers, strings, bytes, containers, dataclasses of `domain`) as bytes."""
    content: bytes = _ENCODER.encode(value)
    return content


def opened(content: bytes) -> Any:
    """The value in bytes, a dict for each dataclass; `typed` makes it one again."""
    return _DECODER.decode(content)


def typed(value: Any, kind: type[ValueT]) -> ValueT:
    """A value of `opened` as one of a type.

    Raises:
        msgspec.ValidationError: It is something else.
    """
    result: ValueT = msgspec.convert(value, kind)
    return result


@dataclass(frozen=True, slots=True)
class _PackedItem:
    """An item; exactly one form of prompt is there."""

    id: str
    sampling: Sampling
    indices: tuple[int, ...]
    seed: int | None
    stream: bool
    echo: bool
    ids: tuple[int, ...] | None = None
    text: str | None = None
    messages: tuple[ChatMessage, ...] | None = None


@dataclass(frozen=True, slots=True)
class _PackedAnswers:
    """Answers by kind. Pieces of a completion keep their order, and come before its end."""

    deltas: list[Delta]
    completions: list[Completion]
    failures: list[Failure]


_ITEMS = msgspec.msgpack.Decoder(list[_PackedItem])
_ANSWERS = msgspec.msgpack.Decoder(_PackedAnswers)


def pack_items(items: Iterable[Item]) -> bytes:
    """A batch as bytes."""
    return pack([_packed(item) for item in items])


def open_items(parcel: bytes) -> list[Item]:
    """The batch in bytes.

    Raises:
        msgspec.ValidationError: They hold something else.
    """
    return [
        Item(
            id=packed.id,
            prompt=_prompt(packed),
            sampling=packed.sampling,
            indices=packed.indices,
            seed=packed.seed,
            stream=packed.stream,
            echo=packed.echo,
        )
        for packed in _ITEMS.decode(parcel)
    ]


def pack_answers(answers: Sequence[Answer]) -> bytes:
    """Answers as bytes."""
    return pack(
        _PackedAnswers(
            deltas=[answer for answer in answers if isinstance(answer, Delta)],
            completions=[answer for answer in answers if isinstance(answer, Completion)],
            failures=[answer for answer in answers if isinstance(answer, Failure)],
        )
    )


def open_answers(parcel: bytes) -> list[Answer]:
    """The answers in bytes: pieces first, then ends.

    Raises:
        msgspec.ValidationError: They hold something else.
    """
    packed = _ANSWERS.decode(parcel)
    return [*packed.deltas, *packed.completions, *packed.failures]


def _packed(item: Item) -> _PackedItem:
    prompt = item.prompt
    form: dict[str, Any] = {}
    match prompt:
        case TokenPrompt():
            form["ids"] = prompt.ids
        case TextPrompt():
            form["text"] = prompt.text
        case ChatPrompt():
            form["messages"] = prompt.messages
    return _PackedItem(
        item.id, item.sampling, item.indices, item.seed, item.stream, item.echo, **form
    )


def _prompt(packed: _PackedItem) -> Prompt:
    if packed.ids is not None:
        return TokenPrompt(packed.ids)
    if packed.text is not None:
        return TextPrompt(packed.text)
    if packed.messages is not None:
        return ChatPrompt(packed.messages)
    raise msgspec.ValidationError("an item without a prompt")
