"""Adversarial robustness: GLUE tasks on texts that were changed to mislead."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from assay_evaluators.dimensions.advglue import metric as metrics
from assay_evaluators.dimensions.advglue import parser as parsers
from assay_evaluators.dimensions.advglue.scenarios import (
    DEV,
    SAMPLING,
    SCENARIOS,
    TASKS,
    AdvglueRow,
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


class Advglue(Dimension):
    """AdvGLUE++ against three source models; AdvGLUE dev under its own name (spec section 5)."""

    name = "advglue"
    summary = "Accuracy of GLUE classifications on adversarially changed texts."
    data_sets: ClassVar[tuple[DataSet, ...]] = (
        DataSet("AdvGLUE++", "CC BY-SA 4.0", "arXiv:2306.11698, section 5"),
        DataSet("AdvGLUE development set (`dev_*`)", "CC BY-SA 4.0", "arXiv:2111.02840"),
    )
    scenarios: ClassVar[tuple[str, ...]] = SCENARIOS
    row_model = AdvglueRow
    metrics: ClassVar[tuple[Metric, ...]] = metrics.METRICS
    parsers: ClassVar[tuple[ParserVersion, ...]] = parsers.VERSIONS
    also_run = tuple(f"{DEV}_{task}" for task in TASKS)

    def samples(self, rows: Sequence[AdvglueRow], context: RowContext) -> Iterator[Sample]:
        """Renders items after fixed demonstrations; see `render`."""
        return render(rows, context)

    def sampling(self, scenario: str, profile: str) -> Sampling:
        """Greedy, 16 tokens."""
        del scenario
        return SAMPLING[profile]

    def prompt_keys(self, scenario: str) -> tuple[str, ...]:
        """Task line and demonstrations of the task."""
        return prompt_keys(scenario)

    def stratum(self, row: AdvglueRow) -> tuple[str, ...]:
        """Attack method and label."""
        return (row.method, str(row.label))

    def sub_values(
        self, scenario: str, outcomes: Sequence[Outcome], parser: ParserVersion
    ) -> dict[str, float]:
        """Accuracy in all, among answers, per attack method."""
        del scenario, parser
        return metrics.sub_values(outcomes)


DIMENSION = Advglue()
