"""Out-of-distribution robustness: unusual styles, and questions after the training data."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from assay_evaluators.dimensions.ood import metric as metrics
from assay_evaluators.dimensions.ood import parser as parsers
from assay_evaluators.dimensions.ood.scenarios import (
    SAMPLING,
    SCENARIOS,
    QuestionRow,
    StyleRow,
    demonstrations_file,
    is_knowledge,
    prompt_keys,
    render_knowledge,
    render_style,
)
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


class OutOfDistribution(Dimension):
    """SST-2 in ten styles and news questions, without and with demonstrations (spec section 6)."""

    name = "ood"
    summary = "Accuracy on unusual styles and on questions newer than the training data."
    data_sets: ClassVar[tuple[DataSet, ...]] = (
        DataSet("SST-2 in ten styles (DecodingTrust)", "CC BY-SA 4.0", "arXiv:2306.11698, sec. 6"),
        DataSet("RealtimeQA 2020 and 2023 (DecodingTrust)", "CC BY-SA 4.0", "arXiv:2207.13332"),
        DataSet("MMLU questions as demonstrations", "MIT", "arXiv:2009.03300"),
    )
    scenarios: ClassVar[tuple[str, ...]] = SCENARIOS
    row_model = StyleRow
    metrics: ClassVar[tuple[Metric, ...]] = metrics.METRICS
    parsers: ClassVar[tuple[ParserVersion, ...]] = parsers.VERSIONS

    def row_model_of(self, scenario: str) -> type[Row]:
        """Questions or sentences."""
        return QuestionRow if is_knowledge(scenario) else StyleRow

    def samples(self, rows: Sequence[Any], context: RowContext) -> Iterator[Sample]:
        """Renders questions or sentences."""
        if is_knowledge(context.scenario):
            return render_knowledge(rows, context)
        return render_style(rows, context)

    def sampling(self, scenario: str, profile: str) -> Sampling:
        """Greedy, 20 tokens."""
        del scenario
        return SAMPLING[profile]

    def prompt_keys(self, scenario: str) -> tuple[str, ...]:
        """Task line, parts of a question, and the request shape's texts."""
        return prompt_keys(scenario)

    def extra_files(self, scenario: str) -> tuple[str, ...]:
        """Few-shot needs its demonstrations."""
        path = demonstrations_file(scenario)
        return () if path is None else (path,)

    def stratum(self, row: Any) -> tuple[str, ...]:
        """Label of a sentence, answer of a question."""
        return (str(row.answer if isinstance(row, QuestionRow) else row.label),)

    def sub_values(
        self, scenario: str, outcomes: Sequence[Outcome], parser: ParserVersion
    ) -> dict[str, float]:
        """Accuracy, refusals, accuracy among the others."""
        return metrics.sub_values(scenario, outcomes, parser)


DIMENSION = OutOfDistribution()
