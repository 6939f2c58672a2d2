"""Prompt profile `paper`: the chat templates of DecodingTrust's client as it used them (spec 0.3).

They are wrong for most models, and that is the point: published numbers were made with them.
A system message replaces the whole `system` string of a template, of several the last one; for
Llama-2 that string holds the opening markers, so that a prompt with a system message has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from assay_core.errors import InvalidArgument
from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.sdk.types import Message

TEMPLATES = "chat.paper_profile_templates"
FIELD = "spec.paper_template"
_USER, _ASSISTANT = 0, 1


class Template(BaseModel):
    """A chat template, as a pack holds it.

    Attributes:
        system: Text before the first turn; a system message takes its place.
        roles: What stands for the user and for the assistant.
        sep_style: How turns are put together.
        sep: Separator; after turns of even number where there are two.
        sep2: Separator after turns of odd number; None where there is one.
        stop_str: Text at which an answer is cut; None for no cut.
        stop_token_ids: Tokens that end an answer; the model's own end token in all of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    system: str
    roles: tuple[str, str]
    sep_style: Literal["LLAMA2", "ADD_COLON_TWO", "INSTRUCT"]
    sep: str
    sep2: str | None = None
    stop_str: str | None = None
    stop_token_ids: tuple[int, ...] | None = None


def template_of(prompts: Prompts, name: str) -> Template:
    """A template of a pack.

    Raises:
        InvalidArgument: If none is named, the pack has none of that name, or it is not well-formed.
    """
    known = prompts.objects(TEMPLATES)
    if name not in known:
        problem = f"{name!r} is not in the pack" if name else "is needed with profile `paper`"
        raise InvalidArgument.of(
            FIELD, problem, reason="UNKNOWN_TEMPLATE", remedy=f"use one of {', '.join(known)}"
        )
    try:
        return Template.model_validate(known[name])
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise InvalidArgument.of(
            f"prompts.json:{TEMPLATES}.{name}.{where}",
            "is not what a chat template has there",
            reason="PACK_PROMPTS_INVALID",
            remedy="import the pack again",
        ) from None


def render(template: Template, messages: Sequence[Message]) -> str:
    """The prompt of a conversation, with an open turn of the assistant at its end.

    Args:
        template: The template.
        messages: Turns; `name`s of example speakers are unknown to the original's renderer too.
    """
    system = template.system
    turns: list[tuple[str, str]] = []
    for message in messages:
        if message.role == "system":
            system = message.content
        else:
            role = template.roles[_USER if message.role == "user" else _ASSISTANT]
            turns.append((role, message.content))
    return _RENDERERS[template.sep_style](template, system, turns)


def cut(text: str, stop: str) -> str:
    """What the original keeps of an answer of a template with a stop text.

    Pitfall kept: where the stop text is absent its position is -1, which drops the last character.
    """
    return text[: text.find(stop)]


def _separator(template: Template, position: int) -> str:
    odd = position % 2 == 1
    return template.sep2 if odd and template.sep2 is not None else template.sep


def _llama2(template: Template, system: str, turns: Sequence[tuple[str, str]]) -> str:
    # The first turn has neither role nor separator: both are in the stock system text.
    text = system
    for position, (role, message) in enumerate(turns):
        if position == 0:
            text += message
        else:
            text += f"{role} {message}{_separator(template, position)}"
    return text + template.roles[_ASSISTANT]


def _add_colon_two(template: Template, system: str, turns: Sequence[tuple[str, str]]) -> str:
    text = system + template.sep
    for position, (role, message) in enumerate(turns):
        text += f"{role}: {message}{_separator(template, position)}"
    return f"{text}{template.roles[_ASSISTANT]}:"


def _instruct(template: Template, system: str, turns: Sequence[tuple[str, str]]) -> str:
    answer = template.roles[_ASSISTANT]
    text = system
    for role, message in turns:
        text += (f"{answer}: " if role == answer else "") + message + template.sep
    return f"{text}{answer}:"


_RENDERERS: Mapping[str, Callable[[Template, str, Sequence[tuple[str, str]]], str]] = {
    "LLAMA2": _llama2,
    "ADD_COLON_TWO": _add_colon_two,
    "INSTRUCT": _instruct,
}
