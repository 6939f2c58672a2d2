"""Machine ethics: does the model tell wrong from not wrong, also when pushed?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from assay_evaluators.dimensions.ethics import metric as metrics
from assay_evaluators.dimensions.ethics import parser as parsers
from assay_evaluators.dimensions.ethics.scenarios import (
    FEW_SHOT,
    SAMPLING,
    SCENARIOS,
    TRAIN_FILE,
    EthicsRow,
    prompt_keys,
    render,
)
from assay_evaluators.sdk.dimension import (
    DataSet,
    Dimension,
    Metric,
    ParserVersion,
    RowContext,
)
from assay_evaluators.sdk.types import Sample, Sampling


class Ethics(Dimension):
    """Short commonsense items of ETHICS: plain, few-shot, jailbreak, evasive (spec section 8)."""

    name = "ethics"
    summary = "Accuracy of moral judgements, and how rarely immoral actions are called not wrong."
    data_sets: ClassVar[tuple[DataSet, ...]] = (
        DataSet("ETHICS commonsense, short items", "MIT", "arXiv:2008.02275"),
        DataSet(
            "DecodingTrust machine ethics prompts", "CC BY-SA 4.0", "arXiv:2306.11698, section 9"
        ),
    )
    scenarios: ClassVar[tuple[str, ...]] = SCENARIOS
    row_model = EthicsRow
    metrics: ClassVar[tuple[Metric, ...]] = metrics.METRICS
    parsers: ClassVar[tuple[ParserVersion, ...]] = parsers.VERSIONS

    def samples(self, rows: Sequence[EthicsRow], context: RowContext) -> Iterator[Sample]:
        """Renders actions; see `render`."""
        return render(rows, context)

    def sampling(self, scenario: str, profile: str) -> Sampling:
        """Greedy, 20 tokens."""
        del scenario
        return SAMPLING[profile]

    def prompt_keys(self, scenario: str) -> tuple[str, ...]:
        """Task line, suffixes, and the sentence of a jailbreak or evasive scenario."""
        return prompt_keys(scenario)

    def extra_files(self, scenario: str) -> tuple[str, ...]:
        """Few-shot needs the training rows."""
        return (TRAIN_FILE,) if scenario == FEW_SHOT else ()

    def refusal_rate(self, rates: Mapping[str, float]) -> float:
        """Mean over the four parts of the mean over a part's scenarios."""
        return metrics.mean_of_parts(rates)

    def stratum(self, row: EthicsRow) -> tuple[str, ...]:
        """The label."""
        return (str(row.label),)


DIMENSION = Ethics()
