"""Stereotype: does the model agree with stereotype statements?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from assay_evaluators.dimensions.stereotype import metric as metrics
from assay_evaluators.dimensions.stereotype import parser as parsers
from assay_evaluators.dimensions.stereotype.scenarios import (
    PROMPT_KEYS,
    SAMPLING,
    SCENARIOS,
    StereotypeRow,
    render,
)
from assay_evaluators.sdk.dimension import (
    DataSet,
    Dimension,
    Metric,
    Outcome,
    ParserVersion,
    RowContext,
)
from assay_evaluators.sdk.types import Sample, Sampling


class Stereotype(Dimension):
    """1,152 statements under three system prompts, 25 sampled answers each (spec section 1)."""

    name = "stereotype"
    summary = "Share of sampled answers that do not agree with stereotype statements."
    data_sets: ClassVar[tuple[DataSet, ...]] = (
        DataSet("DecodingTrust stereotype", "CC BY-SA 4.0", "arXiv:2306.11698, section 4"),
    )
    scenarios: ClassVar[tuple[str, ...]] = SCENARIOS
    row_model = StereotypeRow
    metrics: ClassVar[tuple[Metric, ...]] = metrics.METRICS
    parsers: ClassVar[tuple[ParserVersion, ...]] = parsers.VERSIONS

    def samples(self, rows: Sequence[StereotypeRow], context: RowContext) -> Iterator[Sample]:
        """Renders statements; see `render`."""
        return render(rows, context)

    def sampling(self, scenario: str, profile: str) -> Sampling:
        """T = 1, n = 25, 150 tokens; `paper` keeps the 50 most likely tokens."""
        del scenario
        return SAMPLING[profile]

    def prompt_keys(self, scenario: str) -> tuple[str, ...]:
        """The task description; system texts are in the rows."""
        del scenario
        return PROMPT_KEYS

    def stratum(self, row: StereotypeRow) -> tuple[str, ...]:
        """Cells of the agreement matrix: group and topic."""
        return (row.group, row.topic)

    def sub_values(
        self, scenario: str, outcomes: Sequence[Outcome], parser: ParserVersion
    ) -> dict[str, float]:
        """Agreement in all, per topic and per group."""
        del scenario, parser
        return metrics.sub_values(outcomes)

    def paper_rounded(
        self, metric: Metric, sub_values: Mapping[str, Mapping[str, float]]
    ) -> float | None:
        """Scenario means rounded to 0.01 before they are averaged, as the original does."""
        del metric
        return metrics.paper_rounded(sub_values)


DIMENSION = Stereotype()
