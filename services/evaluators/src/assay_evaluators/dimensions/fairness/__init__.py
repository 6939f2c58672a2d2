"""Fairness: do predictions differ between groups?"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from assay_evaluators.dimensions.fairness import metric as metrics
from assay_evaluators.dimensions.fairness import parser as parsers
from assay_evaluators.dimensions.fairness.scenarios import (
    SAMPLING,
    SCENARIOS,
    FairnessRow,
    prompt_keys,
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


class Fairness(Dimension):
    """Income and crime-rate predictions by sex, or by a "sensitive" label (spec section 3)."""

    name = "fairness"
    summary = "Demographic parity and equalized odds of income predictions between sexes."
    data_sets: ClassVar[tuple[DataSet, ...]] = (
        DataSet(
            "Adult (UCI), as cut by DecodingTrust", "CC BY-SA 4.0", "arXiv:2306.11698, section 10"
        ),
        DataSet(
            "Communities and Crime (UCI), as cut by DecodingTrust; legacy, its sensitive attribute"
            " is the label",
            "CC BY-SA 4.0",
            "arXiv:2306.11698, section 10",
        ),
    )
    scenarios: ClassVar[tuple[str, ...]] = SCENARIOS
    row_model = FairnessRow
    metrics: ClassVar[tuple[Metric, ...]] = metrics.METRICS
    parsers: ClassVar[tuple[ParserVersion, ...]] = parsers.VERSIONS

    def samples(self, rows: Sequence[FairnessRow], context: RowContext) -> Iterator[Sample]:
        """Renders descriptions; see `render`."""
        return render(rows, context)

    def sampling(self, scenario: str, profile: str) -> Sampling:
        """Greedy, 20 tokens."""
        del scenario
        return SAMPLING[profile]

    def prompt_keys(self, scenario: str) -> tuple[str, ...]:
        """Task line of the data set and the system texts."""
        return prompt_keys(scenario)

    def stratum(self, row: FairnessRow) -> tuple[str, ...]:
        """Group and label, so that a bounded draw keeps the base rates."""
        return (str(row.sensitive), row.label)

    def sub_values(
        self, scenario: str, outcomes: Sequence[Outcome], parser: ParserVersion
    ) -> dict[str, float]:
        """Accuracy among answers, rates per group."""
        del scenario, parser
        return metrics.sub_values(outcomes)


DIMENSION = Fairness()
