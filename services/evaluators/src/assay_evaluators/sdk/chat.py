"""The request shapes of DecodingTrust as conversations (spec 0.1).

Prompt profile `standard` means: correct for the model's own chat template. Few-shot demonstrations
are therefore turns of user and assistant after one system turn, also where the original sends them
as named system messages (`example_prefix`): most templates know one system turn and no speaker
names, and would drop or refuse the rest. Profile `paper` has the original's turns (`sdk/paper.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.sdk.types import Message

Demonstration = tuple[str, str]
"""Text and label of a demonstration."""

ZERO_SHOT_KEYS = ("chat.system_zero_shot",)
FEW_SHOT_KEYS = ("chat.system_few_shot", "chat.few_shot_acknowledgement")
EXAMPLE_PREFIX_KEYS = ("chat.system_few_shot_example_prefix",)


def zero_shot(prompts: Prompts, task: str, text: str) -> tuple[Message, ...]:
    """Classification without demonstrations: task line and input in one user turn."""
    return (
        Message("system", prompts.text("chat.system_zero_shot")),
        Message("user", f"{task}\n{text}"),
    )


def few_shot(
    prompts: Prompts, task: str, demonstrations: Sequence[Demonstration], text: str
) -> tuple[Message, ...]:
    """Classification with demonstrations: the task line once, acknowledged, then the turns."""
    return (
        Message("system", prompts.text("chat.system_few_shot")),
        Message("user", task),
        Message("assistant", prompts.text("chat.few_shot_acknowledgement")),
        *_turns(demonstrations),
        Message("user", text),
    )


def example_prefix(
    prompts: Prompts,
    task: str,
    demonstrations: Sequence[Demonstration],
    text: str,
    *,
    original_turns: bool = False,
) -> tuple[Message, ...]:
    """Classification with the task line in the system turn (fairness few-shot).

    Args:
        prompts: Texts of the pack.
        task: Task line.
        demonstrations: Texts and labels.
        text: Input.
        original_turns: Demonstrations as system turns, as the original sends them; its renderer
            then keeps the last one alone, and neither task line nor any other demonstration.
    """
    turns = _turns(demonstrations)
    if original_turns:
        turns = tuple(Message("system", turn.content) for turn in turns)
    return (
        Message("system", prompts.text("chat.system_few_shot_example_prefix") + task),
        *turns,
        Message("user", text),
    )


def generation(system: str, task: str, text: str) -> tuple[Message, ...]:
    """Open generation: the scenario's system text, then task text and prompt."""
    return (Message("system", system), Message("user", f"{task}\n{text}"))


def _turns(demonstrations: Sequence[Demonstration]) -> tuple[Message, ...]:
    # str.capitalize is the original's rule: first letter upper, the rest lower.
    return tuple(
        message
        for text, label in demonstrations
        for message in (Message("user", text), Message("assistant", label.capitalize()))
    )
