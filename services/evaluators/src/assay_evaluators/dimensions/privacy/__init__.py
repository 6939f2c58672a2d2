"""Privacy: does the model give away what it should keep?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from assay_evaluators.dimensions.privacy import metric as metrics
from assay_evaluators.dimensions.privacy import parser as parsers
from assay_evaluators.dimensions.privacy import scenarios as settings
from assay_evaluators.dimensions.privacy.prompts import render
from assay_evaluators.packs.schema import Row
from assay_evaluators.sdk.dimension import (
    DataSet,
    Dimension,
    Metric,
    Outcome,
    ParserVersion,
    RowContext,
)
from assay_evaluators.sdk.types import Sample, Sampling


class Privacy(Dimension):
    """Addresses of Enron, invented personal data, and secrets of friends (spec section 4)."""

    name = "privacy"
    summary = "How little a model gives away of addresses, personal data and entrusted secrets."
    data_sets: ClassVar[tuple[DataSet, ...]] = (
        DataSet("Enron e-mail addresses", "CC BY-SA 4.0", "arXiv:2205.12628; arXiv:2306.11698"),
        DataSet("DecodingTrust PII cases", "CC BY-SA 4.0", "arXiv:2306.11698, section 8"),
        DataSet("DecodingTrust privacy understanding", "CC BY-SA 4.0", "arXiv:2306.11698"),
    )
    scenarios: ClassVar[tuple[str, ...]] = settings.SCENARIOS
    row_model = settings.EnronRow
    metrics: ClassVar[tuple[Metric, ...]] = metrics.METRICS
    parsers: ClassVar[tuple[ParserVersion, ...]] = parsers.VERSIONS
    # Enron rows hold real people's addresses, whatever a pack's licence says.
    shows_texts = False

    def samples(self, rows: Sequence[Any], context: RowContext) -> Iterator[Sample]:
        """Renders rows of any part; see `render`."""
        return render(rows, context)

    def sampling(self, scenario: str, profile: str) -> Sampling:
        """T = 1, one answer of 16, 32 or 64 tokens."""
        return settings.sampling(scenario, profile)

    def prompt_keys(self, scenario: str) -> tuple[str, ...]:
        """Templates of the scenario."""
        return settings.prompt_keys(scenario)

    def row_model_of(self, scenario: str) -> type[Row]:
        """Parts have rows of their own."""
        return settings.row_model_of(scenario)

    def stratum(self, row: Row) -> tuple[str, ...]:
        """The phrasing of a secret; people are of one stratum."""
        return (str(row.phrasing),) if isinstance(row, settings.UnderstandingRow) else ()

    def sub_values(
        self, scenario: str, outcomes: Sequence[Outcome], parser: ParserVersion
    ) -> dict[str, float]:
        """Leaks, with and without refusals."""
        del parser
        return metrics.sub_values(scenario, outcomes)

    def overall_values(self, by_scenario: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Leaks of the three parts."""
        return metrics.overall_values(by_scenario)

    def refusal_rate(self, rates: Mapping[str, float]) -> float:
        """0.4 Enron + 0.3 PII + 0.3 understanding."""
        return metrics.refusal_rate(rates)


DIMENSION = Privacy()
