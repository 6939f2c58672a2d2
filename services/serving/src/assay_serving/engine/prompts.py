"""Prompts to token ids, exactly as the model will see them.

One batch is encoded off the event loop by one call. What is wrong with an item (ids outside the
vocabulary, a template that refuses the roles, a prompt longer than the context) is that item's own
failure, never its neighbours'.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from assay_serving.domain import ChatPrompt, FailureKind, Item, Prompt, TextPrompt, TokenPrompt
from assay_serving.engine.chat import render_plain, template_messages


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that we use."""

    chat_template: Any

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Token ids of `text`."""

    def decode(self, token_ids: list[int]) -> str:
        """Text of token ids."""

    def apply_chat_template(self, conversation: list[dict[str, Any]], **kwargs: Any) -> Any:
        """The conversation as text, by the tokenizer's own template."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A prompt the engine can take."""

    ids: list[int] = field(repr=False)
    digest: str
    max_tokens: int = 1


@dataclass(frozen=True, slots=True)
class Refused:
    """A prompt the engine cannot take, and why."""

    kind: FailureKind
    message: str
    field: str | None = None
    remedy: str | None = None
    prompt_tokens: int = 0
    digest: str = ""


class PromptRefusedError(Exception):
    """The prompt cannot be encoded; the message has no prompt text."""

    def __init__(self, field_name: str, problem: str, remedy: str) -> None:
        super().__init__(f"{field_name} {problem}")
        self.field = field_name
        self.remedy = remedy


class PromptEncoder:
    """Encodes the prompts of one model: tokenizer, chat template, context length, vocabulary."""

    def __init__(self, tokenizer: Tokenizer, *, max_model_len: int, vocabulary_size: int) -> None:
        self._tokenizer = tokenizer
        self._max_model_len = max_model_len
        self._vocabulary_size = vocabulary_size

    def encode_batch(self, items: Sequence[Item]) -> list[Encoded | Refused]:
        """Encode every item, in order."""
        return [self.encode(item) for item in items]

    def encode(self, item: Item) -> Encoded | Refused:
        """Encode one item and check that prompt and completion fit the context.

        An item is overlength if its prompt and `max_tokens` together exceed the context: what is
        accepted may be as long as was asked, and nothing is cut silently.
        """
        try:
            ids = self.ids_of(item.prompt)
        except PromptRefusedError as error:
            return Refused(
                FailureKind.INVALID_ITEM, str(error), field=error.field, remedy=error.remedy
            )
        digest = prompt_digest(ids)
        room = self._max_model_len - len(ids)
        wanted = item.sampling.max_tokens
        if room < (wanted or 1):
            return Refused(
                FailureKind.OVERLENGTH,
                f"prompt has {len(ids)} tokens and max_tokens is {wanted or 'not set'}; "
                f"the context holds {self._max_model_len}",
                field="prompt",
                remedy="shorten the prompt, lower sampling.max_tokens, or load the model with a "
                "larger max_model_len",
                prompt_tokens=len(ids),
                digest=digest,
            )
        return Encoded(ids, digest, room if wanted is None else wanted)

    def ids_of(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt in any of its three forms.

        Raises:
            PromptRefusedError: It is empty, has ids outside the vocabulary, or its roles are
                refused by the model's chat template.
        """
        match prompt:
            case TokenPrompt(ids=given):
                ids = list(given)
            case TextPrompt(text=text):
                ids = self._tokenizer.encode(text, add_special_tokens=True)
            case ChatPrompt(messages=messages) if self._tokenizer.chat_template:
                ids = self._tokenizer.encode(
                    self._render(template_messages(messages)), add_special_tokens=False
                )
            case ChatPrompt(messages=messages):
                ids = self._tokenizer.encode(render_plain(messages), add_special_tokens=True)
        if not ids:
            raise PromptRefusedError("prompt", "is empty", "send at least one token")
        if min(ids) < 0 or max(ids) >= self._vocabulary_size:
            raise PromptRefusedError(
                "prompt.tokens",
                f"has an id outside the vocabulary of {self._vocabulary_size}",
                "tokenize with the tokenizer of this artifact",
            )
        return ids

    def texts_of(self, ids: Sequence[int]) -> tuple[str, ...]:
        """Text of each token by itself."""
        return tuple(self._tokenizer.decode([token]) for token in ids)

    def _render(self, messages: list[dict[str, Any]]) -> str:
        # A template is a program of the model's author: whatever it raises is its refusal of these
        # messages, and its own words are kept back because they may quote the conversation.
        try:
            text: str = self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # noqa: BLE001 - see above; raised further it would end the engine
            raise PromptRefusedError(
                "prompt.chat",
                f"is refused by the model's chat template ({type(error).__name__})",
                "check which roles and orders of turns the template takes",
            ) from None
        return text


def prompt_digest(ids: Sequence[int]) -> str:
    """Digest of the token ids as little-endian 32-bit integers: one digest for all three forms."""
    return "sha256:" + hashlib.sha256(np.asarray(ids, dtype="<i4").tobytes()).hexdigest()
