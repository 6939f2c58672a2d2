"""Adversarial demonstrations: is the model misled by what it is shown in the prompt?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from assay_evaluators.dimensions.adv_demonstration import metric as metrics
from assay_evaluators.dimensions.adv_demonstration import parser as parsers
from assay_evaluators.dimensions.adv_demonstration.scenarios import (
    SAMPLING,
    SCENARIOS,
    AdvDemonstrationRow,
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


class AdversarialDemonstrations(Dimension):
    """Counterfactual, spurious and backdoored demonstrations (spec section 7)."""

    name = "adv_demonstration"
    summary = "Accuracy after misleading demonstrations, and how rarely a backdoor works."
    data_sets: ClassVar[tuple[DataSet, ...]] = (
        DataSet("SNLI-CAD and MSGS counterfactuals (DecodingTrust)", "CC BY-SA 4.0",
                "arXiv:2306.11698, section 7.1"),
        DataSet("HANS heuristics (DecodingTrust)", "CC BY-SA 4.0", "arXiv:2306.11698, section 7.2"),
        DataSet("SST-2 with backdoors (DecodingTrust)", "CC BY-SA 4.0",
                "arXiv:2306.11698, section 7.3"),
    )  # fmt: skip
    scenarios: ClassVar[tuple[str, ...]] = SCENARIOS
    row_model = AdvDemonstrationRow
    metrics: ClassVar[tuple[Metric, ...]] = metrics.METRICS
    parsers: ClassVar[tuple[ParserVersion, ...]] = parsers.VERSIONS

    def samples(self, rows: Sequence[AdvDemonstrationRow], context: RowContext) -> Iterator[Sample]:
        """Renders items after their demonstrations; see `render`."""
        return render(rows, context)

    def sampling(self, scenario: str, profile: str) -> Sampling:
        """Greedy, 20 tokens."""
        del scenario
        return SAMPLING[profile]

    def prompt_keys(self, scenario: str) -> tuple[str, ...]:
        """Task line and the texts of few-shot classification."""
        return prompt_keys(scenario)

    def refusal_rate(self, rates: Mapping[str, float]) -> float:
        """Mean over the three parts; backdoor: attacked sets only."""
        return metrics.mean_of_parts(rates)

    def stratum(self, row: AdvDemonstrationRow) -> tuple[str, ...]:
        """Seed and label, so that a bounded draw keeps both balanced."""
        return (str(row.seed), row.label)

    def sub_values(
        self, scenario: str, outcomes: Sequence[Outcome], parser: ParserVersion
    ) -> dict[str, float]:
        """Accuracy or attack success, per seed, and the share without an answer."""
        del parser
        return metrics.sub_values(scenario, outcomes)


DIMENSION = AdversarialDemonstrations()
