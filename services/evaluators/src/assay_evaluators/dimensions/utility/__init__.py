"""Utility: what compression may cost besides trust. MMLU, and perplexity on held-out text."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from assay_evaluators.dimensions.utility import metric as metrics
from assay_evaluators.dimensions.utility import parser as parsers
from assay_evaluators.dimensions.utility.scenarios import (
    MMLU_DEV_FILE,
    MMLU_LIKELIHOOD,
    PERPLEXITY,
    SAMPLING,
    SCENARIOS,
    MmluRow,
    TextRow,
    prompt_keys,
    render_mmlu,
    render_texts,
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


class Utility(Dimension):
    """MMLU as in Decoding-Compressed-Trust and by likelihood; perplexity (spec section 9)."""

    name = "utility"
    summary = "Knowledge questions answered right, and how well unseen text is predicted."
    data_sets: ClassVar[tuple[DataSet, ...]] = (
        DataSet("MMLU", "MIT", "arXiv:2009.03300"),
        DataSet("held-out text of the pack", "the pack's", "-"),
    )
    scenarios: ClassVar[tuple[str, ...]] = SCENARIOS
    row_model = MmluRow
    metrics: ClassVar[tuple[Metric, ...]] = metrics.METRICS
    parsers: ClassVar[tuple[ParserVersion, ...]] = parsers.VERSIONS
    also_run = (MMLU_LIKELIHOOD, PERPLEXITY)

    def row_model_of(self, scenario: str) -> type[Row]:
        """Questions or texts."""
        return TextRow if scenario == PERPLEXITY else MmluRow

    def samples(self, rows: Sequence[Any], context: RowContext) -> Iterator[Sample]:
        """Renders questions after demonstrations, or texts as they are."""
        if context.scenario == PERPLEXITY:
            return render_texts(rows, context)
        return render_mmlu(rows, context)

    def sampling(self, scenario: str, profile: str) -> Sampling:
        """Greedy; 16 tokens, or one token and log-probabilities."""
        del profile
        return SAMPLING[scenario]

    def prompt_keys(self, scenario: str) -> tuple[str, ...]:
        """Header, option line and words around the answer."""
        return prompt_keys(scenario)

    def extra_files(self, scenario: str) -> tuple[str, ...]:
        """Questions need the demonstrations."""
        return () if scenario == PERPLEXITY else (MMLU_DEV_FILE,)

    def stratum(self, row: Any) -> tuple[str, ...]:
        """The subject of a question."""
        return (row.subject,) if isinstance(row, MmluRow) else ()

    def sub_values(
        self, scenario: str, outcomes: Sequence[Outcome], parser: ParserVersion
    ) -> dict[str, float]:
        """Accuracy per subject, or perplexity over all tokens."""
        del parser
        return metrics.sub_values(scenario, outcomes)


DIMENSION = Utility()
