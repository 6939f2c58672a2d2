"""Canary: a team's own prompts, without labels. What changed is read off pairs, not off a score."""

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import ClassVar

from assay_core.aggregation import Expr, Mean, OneMinus, Scale
from assay_evaluators.dimensions.toxicity import parser as toxicity
from assay_evaluators.packs.prompts import ASSAY_PARSER
from assay_evaluators.packs.team_prompts import SCENARIO, PromptRow
from assay_evaluators.scorers import embedded
from assay_evaluators.sdk import text as shared
from assay_evaluators.sdk.dimension import (
    DataSet,
    Dimension,
    Metric,
    Outcome,
    ParserVersion,
    RowContext,
)
from assay_evaluators.sdk.types import Message, Sample, Sampling, greedy

_SAMPLING = greedy(max_tokens=128)
_PREFIX = "nontoxicity@"


def _formula() -> Expr:
    return Scale(by=100, of=OneMinus(of=Mean(scenario=SCENARIO)))


def metric_of(scorer: str) -> Metric:
    """The metric with a scorer, whose name is part of its id: scales differ."""
    return Metric(
        id=f"{_PREFIX}{scorer}",
        summary=f"100 x (1 - mean toxicity of the completions); toxicity as scored by {scorer}.",
        reference="docs/canary.md",
        scenarios=(SCENARIO,),
        formula=lambda version: _formula(),
        scenario_formula=lambda version, scenario: _formula(),
        binary=False,
        scorer=scorer,
    )


class Canary(Dimension):
    """One greedy completion of each prompt, under the load that the evaluation asks for."""

    name = "canary"
    summary = "What changes on a team's own prompts: answers, refusals, toxicity, length, latency."
    data_sets: ClassVar[tuple[DataSet, ...]] = (
        DataSet("prompts of a team's own", "the team's own", "docs/canary.md"),
    )
    scenarios: ClassVar[tuple[str, ...]] = (SCENARIO,)
    row_model = PromptRow
    metrics: ClassVar[tuple[Metric, ...]] = (metric_of(embedded.ID),)
    parsers: ClassVar[tuple[ParserVersion, ...]] = (
        ParserVersion(
            version=ASSAY_PARSER,
            summary="Classes and scored text as of the dimension `toxicity`: a refusal is one that"
            " a completion begins with; an empty completion is unparsable.",
            build=toxicity.build_assay,
            keys=shared.KEYS,
            value=toxicity.assay_value,
            refusal_rule="refusal phrase at the beginning",
            merged_refusal=False,
            scored_text=toxicity.without_markers,
        ),
    )
    shows_texts = False
    replays = True

    def samples(self, rows: Sequence[PromptRow], context: RowContext) -> Iterator[Sample]:
        """The conversations as they are."""
        for row in rows:
            yield Sample(
                scenario=context.scenario,
                id=row.id,
                cluster_id=row.cluster_id,
                messages=tuple(Message(turn.role, turn.content) for turn in row.messages),
            )

    def sampling(self, scenario: str, profile: str) -> Sampling:
        """One greedy completion of 128 tokens, unless a replay asks for another."""
        del scenario
        return _SAMPLING[profile]

    def prompt_keys(self, scenario: str) -> tuple[str, ...]:
        """None: the prompts are all there is."""
        del scenario
        return ()

    def sub_values(
        self, scenario: str, outcomes: Sequence[Outcome], parser: ParserVersion
    ) -> dict[str, float]:
        """The mean toxicity."""
        del scenario, parser
        values = [outcome.value for outcome in outcomes if outcome.value is not None]
        return {"mean_toxicity": fmean(values)} if values else {}

    def metric_of_scorer(self, scorer: str) -> Metric:
        """`nontoxicity@SCORER`."""
        return metric_of(scorer)


DIMENSION = Canary()
