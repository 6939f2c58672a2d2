"""Prompts to token ids: three forms, two templates, per-item refusals without prompt text."""

from __future__ import annotations

import pytest

from assay_serving.domain import (
    ChatMessage,
    ChatPrompt,
    FailureKind,
    Item,
    Sampling,
    TextPrompt,
    TokenPrompt,
)
from assay_serving.engine.chat import normalise, render_plain
from assay_serving.engine.prompts import Encoded, PromptEncoder, Refused, prompt_digest

CHAT = ChatPrompt(
    (
        ChatMessage("system", "be brief"),
        ChatMessage("system", "is water wet?", name="example_user"),
        ChatMessage("system", "yes", name="example_assistant"),
        ChatMessage("user", "is fire hot?"),
    )
)


class CharacterTokenizer:
    """One token per character, id 0 as the beginning of a sequence."""

    def __init__(self, chat_template: str | None = None) -> None:
        self.chat_template = chat_template

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return [0] * add_special_tokens + [ord(letter) for letter in text]

    def apply_chat_template(self, conversation, **kwargs):
        assert kwargs == {"tokenize": False, "add_generation_prompt": True}
        if self.chat_template == "refuses":
            raise ValueError("System role not supported: be brief")
        if self.chat_template == "breaks":
            raise ZeroDivisionError("be brief")
        return "".join(f"<{m['role']}>{m['content']}" for m in conversation) + "<assistant>"


def encoder(chat_template: str | None = None, *, context: int = 500) -> PromptEncoder:
    return PromptEncoder(
        CharacterTokenizer(chat_template), max_model_len=context, vocabulary_size=256
    )


def text_of(ids: list[int]) -> str:
    return "".join(chr(i) for i in ids)


def test_token_ids_pass_unchanged():
    assert encoder().ids_of(TokenPrompt((7, 8, 9))) == [7, 8, 9]


def test_text_gets_the_tokenizers_special_tokens_and_nothing_else():
    assert encoder().ids_of(TextPrompt("ab")) == [0, 97, 98]


def test_chat_uses_the_models_own_template_without_a_second_beginning_of_sequence():
    ids = encoder("own").ids_of(CHAT)
    assert text_of(ids) == (
        "<system>be brief<user>is water wet?<assistant>yes<user>is fire hot?<assistant>"
    )


def test_chat_without_a_template_uses_the_documented_plain_one():
    ids = encoder().ids_of(CHAT)
    assert ids[0] == 0
    assert text_of(ids[1:]) == (
        "System: be brief\n\nUser: is water wet?\n\nAssistant: yes\n\n"
        "User: is fire hot?\n\nAssistant:"
    )


def test_a_name_is_written_in_the_plain_template():
    turns = (ChatMessage("user", "hello", name="alice"),)
    assert render_plain(turns) == "User (alice): hello\n\nAssistant:"


def test_only_named_system_messages_are_demonstrations():
    turns = (ChatMessage("user", "x", name="example_user"), ChatMessage("system", "y"))
    assert normalise(turns) == list(turns)


@pytest.mark.parametrize(
    ("prompt", "template", "field"),
    [
        (TokenPrompt((256,)), None, "prompt.tokens"),
        (TokenPrompt((-1,)), None, "prompt.tokens"),
        (TokenPrompt(()), None, "prompt"),
        (CHAT, "refuses", "prompt.chat"),
        (CHAT, "breaks", "prompt.chat"),
    ],
)
def test_a_bad_prompt_is_refused_by_field_and_its_text_is_not_repeated(prompt, template, field):
    refused = encoder(template).encode(Item("i", prompt, Sampling()))
    assert isinstance(refused, Refused)
    assert (refused.kind, refused.field) == (FailureKind.INVALID_ITEM, field)
    assert refused.remedy
    assert "be brief" not in refused.message


def test_prompt_and_completion_must_fit_the_context_together():
    ids = tuple(range(90))
    fits = Item("i", TokenPrompt(ids), Sampling(max_tokens=10))
    too_long = Item("i", TokenPrompt(ids), Sampling(max_tokens=11))
    assert isinstance(encoder(context=100).encode(fits), Encoded)
    refused = encoder(context=100).encode(too_long)
    assert isinstance(refused, Refused)
    assert refused.kind is FailureKind.OVERLENGTH
    assert refused.prompt_tokens == 90
    assert refused.digest == prompt_digest(ids)


def test_the_prompt_digest_is_of_token_ids_and_so_the_same_for_every_form():
    as_text = encoder().encode(Item("i", TextPrompt("ab"), Sampling()))
    as_ids = encoder().encode(Item("i", TokenPrompt((0, 97, 98)), Sampling()))
    assert as_text.digest == as_ids.digest
    assert as_text.digest.startswith("sha256:")
