"""Chat messages to one prompt: the model's own template, or a documented plain one.

Current tokenizers bring no default template, and base models have none. For those, every turn is
written as `<Label>: <content>` followed by a blank line, and the prompt ends with `Assistant:`,
ready for the model to continue:

    System: You are a careful assistant.

    User: Is water wet?

    Assistant:

A system message named `example_user` or `example_assistant` is a demonstration (the OpenAI
convention for few-shot examples): it becomes a user or assistant turn, in both kinds of template.
Any other name is written after the label, `User (alice): ...`, in the plain template and left to
the model's own template otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from assay_serving.domain import ChatMessage

PLAIN_TEMPLATE = "assay-plain-1: {Label}[ ({name})]: {content}\n\n ... Assistant:"
"""Stands for the plain template in a generation's identity; a change needs a new version."""

_LABELS = {"system": "System", "user": "User", "assistant": "Assistant"}
_DEMONSTRATIONS = {"example_user": "user", "example_assistant": "assistant"}


def normalise(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Turn named system demonstrations into user and assistant turns; leave the rest alone."""
    turns = []
    for message in messages:
        role = _DEMONSTRATIONS.get(message.name or "") if message.role == "system" else None
        turns.append(ChatMessage(role, message.content) if role else message)
    return turns


def render_plain(messages: Sequence[ChatMessage]) -> str:
    """Render `messages` by the plain template (see the module's head)."""
    lines = []
    for message in normalise(messages):
        name = f" ({message.name})" if message.name else ""
        lines.append(f"{_LABELS[message.role]}{name}: {message.content}\n\n")
    return "".join(lines) + "Assistant:"


def template_messages(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    """The form `apply_chat_template` takes; `name` is passed on for templates that use it."""
    return [
        {"role": m.role, "content": m.content} | ({"name": m.name} if m.name else {})
        for m in normalise(messages)
    ]
