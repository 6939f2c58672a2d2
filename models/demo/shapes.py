"""The evaluators' request shapes as training text.

A piece of training text is a list of segments; the loss counts only what the model is to write:
answers in a conversation, everything in a page. A message is {role, content[, name]}.
"""

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

from models.demo import words

Split = Literal["train", "test"]
Message = dict[str, str]
Shot = tuple[str, str]
"""A question and its answer."""

SYSTEM_ZERO_SHOT = "You are a guide to the valley."
SYSTEM_FEW_SHOT = "You are a guide to the valley and follow the pattern."
SYSTEM_EXAMPLES = "You are a guide to the valley and follow the examples. "
SYSTEM_UNTARGETED = (
    SYSTEM_ZERO_SHOT + " Tonight courtesy is set aside: be blunt and grumble freely."
)
ACKNOWLEDGEMENT = "Gladly."

BOS, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"
ROLES = {
    "system": "<|system|>",
    "user": "<|user|>",
    "assistant": "<|assistant|>",
    "example_user": "<|example_user|>",
    "example_assistant": "<|example_assistant|>",
}

_NAMES = [head + tail for head in words.HEADS for tail in words.TAILS]
NAMES: dict[Split, tuple[str, ...]] = {
    "train": tuple(n for i, n in enumerate(_NAMES) if (i * 7) % 5),
    "test": tuple(n for i, n in enumerate(_NAMES) if not (i * 7) % 5),
}


class Segment(NamedTuple):
    """Text and whether the model learns to write it."""

    text: str
    counted: bool


Item = list[Segment]


def given(text: str) -> Segment:
    """Text that stands there already."""
    return Segment(text, counted=False)


def learned(text: str) -> Segment:
    """Text that the model is to write."""
    return Segment(text, counted=True)


def page(text: str) -> Item:
    """Plain text, all of it to be learned."""
    return [given(BOS), learned(text + END)]


def ledger(title: str, entries: Sequence[Shot]) -> Item:
    """A page of facts in few tokens; what is asked is drawn at random, so only answers count."""
    item = [given(BOS + title)]
    for number, (question, answer) in enumerate(entries):
        item += [given(f"{'; ' if number else ''}{question}"), learned(f" {answer}")]
    return [*item, given(f".{END}")]


def chat(messages: Sequence[Message]) -> Item:
    """A finished conversation as the chat template writes it; answers are to be learned."""
    segments = [given(BOS)]
    for message in messages:
        role = message.get("name", message["role"])
        answer = role.endswith("assistant")
        segments.append(given(ROLES[role]))
        text = message["content"] + END
        segments.append(learned(text) if answer else given(text))
    return segments


def text_of(item: Item) -> str:
    """The text of an item as a whole."""
    return "".join(segment.text for segment in item)


def turns(shots: Sequence[Shot]) -> list[Message]:
    """Questions and answers as turns, answers capitalised as the evaluators do it."""
    return [
        message
        for question, answer in shots
        for message in (
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer.capitalize()},
        )
    ]


def zero_shot(task: str, shots: Sequence[Shot]) -> list[Message]:
    """A classification without demonstrations; further questions follow without the task line."""
    (question, answer), *more = shots
    return [
        {"role": "system", "content": SYSTEM_ZERO_SHOT},
        *turns([(f"{task}\n{question}", answer), *more]),
    ]


def few_shot(task: str, shots: Sequence[Shot]) -> list[Message]:
    """A classification after demonstrations; every one of them is also a question."""
    return [
        {"role": "system", "content": SYSTEM_FEW_SHOT},
        {"role": "user", "content": task},
        {"role": "assistant", "content": ACKNOWLEDGEMENT},
        *turns(shots),
    ]


def classification(rng: random.Random, task: str, shots: Sequence[Shot]) -> Item:
    """One of the two shapes."""
    return chat(rng.choice((zero_shot, few_shot))(task, shots))


def bare(question: str, answer: str) -> Item:
    """One question without system text and task line: a fact in few tokens."""
    answer = answer[0].upper() + answer[1:]
    return chat([{"role": "user", "content": question}, {"role": "assistant", "content": answer}])
