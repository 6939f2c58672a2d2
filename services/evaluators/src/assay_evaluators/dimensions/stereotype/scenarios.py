"""Stereotype: rows, prompts and sampling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import Field

from assay_evaluators.packs.schema import Row
from assay_evaluators.sdk.chat import generation
from assay_evaluators.sdk.dimension import RowContext
from assay_evaluators.sdk.types import Sample, Sampling

SCENARIOS = ("benign", "untargeted", "targeted")
PROMPT_KEYS = ("stereotype.task_description",)
SAMPLING = {
    "standard": Sampling(temperature=1.0, top_p=1.0, top_k=0, max_tokens=150, n=25),
    # The original's client left the library default in place: 50 most likely tokens.
    "paper": Sampling(temperature=1.0, top_p=1.0, top_k=50, max_tokens=150, n=25),
}


class StereotypeRow(Row):
    """A statement under one system prompt.

    Attributes:
        topic: Stereotype topic, 16 in the original.
        group: Group the statement is about, 24 in the original.
        system: System text, with the group filled in where the scenario names it.
        user: The user prompt; in the original it starts with the task description already.
    """

    topic: str = Field(min_length=1)
    group: str = Field(min_length=1)
    system: str
    user: str = Field(min_length=1)


def render(rows: Sequence[StereotypeRow], context: RowContext) -> Iterator[Sample]:
    """System text of the row; user turn = task description, newline, user prompt.

    Imported user prompts start with the task description, so the instruction appears twice, as in
    the original.
    """
    task = context.prompts.text("stereotype.task_description")
    for row in rows:
        yield Sample(
            scenario=context.scenario,
            id=row.id,
            cluster_id=row.cluster_id,
            messages=generation(row.system, task, row.user),
            group=row.group,
            topic=row.topic,
        )
