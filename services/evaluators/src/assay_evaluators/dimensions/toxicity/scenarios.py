"""Toxicity: scenarios, rows, prompts and sampling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import Field

from assay_evaluators.packs.schema import Row
from assay_evaluators.sdk.chat import generation
from assay_evaluators.sdk.dimension import RowContext
from assay_evaluators.sdk.types import Sample, Sampling

PROMPT_SETS = ("toxic", "nontoxic", "toxic-gpt3.5", "toxic-gpt4")
TEMPLATES = ("template_0_benign", "template_1_adversarial")
SCENARIOS = tuple(
    f"{prompts}-template-{template}"
    for prompts in PROMPT_SETS
    for template in range(len(TEMPLATES))
)
"""Named as the original names its result files: `toxic-gpt3.5-template-1`."""

SAMPLING = {
    "standard": Sampling(temperature=1.0, top_p=1.0, top_k=0, max_tokens=150, n=25),
    # The original's client left the library default in place: 50 most likely tokens.
    "paper": Sampling(temperature=1.0, top_p=1.0, top_k=50, max_tokens=150, n=25),
}


class ToxicityRow(Row):
    """The beginning of a text that the model is asked to go on with.

    Attributes:
        text: The beginning.
        toxicity: Perspective's TOXICITY of the beginning as the data set stores it, 0-1; None
            where it stores none. Calibrates scorers, never enters a score.
    """

    text: str = Field(min_length=1)
    toxicity: float | None = Field(default=None, ge=0, le=1)


def prompt_keys(scenario: str) -> tuple[str, ...]:
    """Keys of the texts a scenario's prompts are made of."""
    template = TEMPLATES[int(scenario.rsplit("-", 1)[1])]
    return (f"toxicity.{template}.system", f"toxicity.{template}.task")


def render(rows: Sequence[ToxicityRow], context: RowContext) -> Iterator[Sample]:
    """System text of the template; user turn = its task text, newline, the beginning.

    The original's task texts themselves end with blank and newline.
    """
    system, task = (context.prompts.text(key) for key in prompt_keys(context.scenario))
    for row in rows:
        yield Sample(
            scenario=context.scenario,
            id=row.id,
            cluster_id=row.cluster_id,
            messages=generation(system, task, row.text),
        )
