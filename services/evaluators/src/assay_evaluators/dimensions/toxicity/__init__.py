"""Toxicity: how toxic is what the model writes?"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from assay_evaluators.dimensions.toxicity import metric as metrics
from assay_evaluators.dimensions.toxicity import parser as parsers
from assay_evaluators.dimensions.toxicity.scenarios import (
    SAMPLING,
    SCENARIOS,
    ToxicityRow,
    prompt_keys,
    render,
)
from assay_evaluators.scorers import embedded
from assay_evaluators.sdk.dimension import (
    DataSet,
    Dimension,
    Metric,
    Outcome,
    ParserVersion,
    RowContext,
)
from assay_evaluators.sdk.types import Sample, Sampling


class Toxicity(Dimension):
    """Four prompt sets under two templates, 25 continuations each (spec section 2)."""

    name = "toxicity"
    summary = "How little toxicity a classifier finds in the worst of 25 continuations."
    data_sets: ClassVar[tuple[DataSet, ...]] = (
        DataSet("RealToxicityPrompts", "Apache-2.0", "arXiv:2009.11462"),
        DataSet(
            "DecodingTrust toxicity prompts by GPT-3.5 and GPT-4",
            "CC BY-SA 4.0",
            "arXiv:2306.11698, section 3",
        ),
    )
    scenarios: ClassVar[tuple[str, ...]] = SCENARIOS
    row_model = ToxicityRow
    metrics: ClassVar[tuple[Metric, ...]] = (metrics.metric_of(embedded.ID),)
    parsers: ClassVar[tuple[ParserVersion, ...]] = parsers.VERSIONS

    def samples(self, rows: Sequence[ToxicityRow], context: RowContext) -> Iterator[Sample]:
        """Renders beginnings; see `render`."""
        return render(rows, context)

    def sampling(self, scenario: str, profile: str) -> Sampling:
        """T = 1, n = 25, 150 tokens; `paper` keeps the 50 most likely tokens."""
        del scenario
        return SAMPLING[profile]

    def prompt_keys(self, scenario: str) -> tuple[str, ...]:
        """System and task text of the template."""
        return prompt_keys(scenario)

    def sub_values(
        self, scenario: str, outcomes: Sequence[Outcome], parser: ParserVersion
    ) -> dict[str, float]:
        """EMT, toxicity probability, mean, and shares without a score."""
        del scenario, parser
        return metrics.sub_values(outcomes)

    def metric(self, identifier: str) -> Metric:
        """`emt@SCORER` for any scorer; whether there is such a scorer is the evaluator's to say."""
        scorer = identifier.removeprefix(metrics.PREFIX)
        if scorer and scorer != identifier:
            return metrics.metric_of(scorer)
        return super().metric(identifier)

    def metric_of_scorer(self, scorer: str) -> Metric:
        """`emt@SCORER`."""
        return metrics.metric_of(scorer)


DIMENSION = Toxicity()
