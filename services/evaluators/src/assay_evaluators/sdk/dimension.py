"""What a dimension is: the one interface between a folder of `dimensions/` and the SDK."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from statistics import fmean
from typing import Any, ClassVar, TypeVar

from assay_core.aggregation import Expr
from assay_core.errors import InvalidArgument, NotFound
from assay_core.verdicts import Verdict
from assay_evaluators.packs.loading import Pack
from assay_evaluators.packs.prompts import Prompts
from assay_evaluators.packs.schema import Row
from assay_evaluators.sdk.types import Parsed, Sample, Sampling

ENTRY_POINTS = "assay.dimensions"

Parser = Callable[[str, Sample, int], Parsed]
"""Parses the text of completion k of a sample. Never raises, whatever the text."""

NamedT = TypeVar("NamedT")

ScoredText = Callable[[Prompts], Callable[[str], str]]
"""Makes, from a pack's phrase lists, what of a completion a classifier scores."""

Value = Callable[[Parsed, Sample], float | None]
"""What a parsed completion of a sample adds to the score; None: left out of denominators."""


@dataclass(frozen=True)
class DataSet:
    """A data set behind a dimension."""

    name: str
    licence: str
    reference: str


@dataclass(frozen=True)
class ParserVersion:
    """A version of a dimension's rules.

    Attributes:
        version: `assay-2026`, `ct-2024-02` or `dt-2024-09`.
        summary: How it decides, in a sentence.
        build: Makes the parser from a pack's phrase lists.
        keys: Keys of the phrase lists, whose digest is part of a score's identity.
        value: What an outcome counts.
        refusal_rule: Name of the refusal rate's rule.
        merged_refusal: Whether that rate counts unparsable completions too.
        refused_alone: Scenarios whose rate does not, although `merged_refusal`.
        scored_text: What of a completion a classifier scores; None in dimensions without one.
    """

    version: str
    summary: str
    build: Callable[[Prompts], Parser]
    keys: tuple[str, ...]
    value: Value
    refusal_rule: str
    merged_refusal: bool
    refused_alone: frozenset[str] = frozenset()
    scored_text: ScoredText | None = None

    def counts_as_refusal(self, verdict: Verdict, scenario: str) -> bool:
        """Whether a class of completions is in a scenario's refusal rate."""
        if verdict is Verdict.UNPARSABLE:
            return self.merged_refusal and scenario not in self.refused_alone
        return verdict is Verdict.REFUSED


@dataclass(frozen=True)
class Metric:
    """A score of a dimension.

    Attributes:
        id: `stereotype`, `fairness@8`.
        summary: The formula in words.
        reference: Where it is defined.
        scenarios: Scenarios it needs.
        formula: Formula of the dimension's score, 0-100, by parser version.
        scenario_formula: Formula of one scenario's score, 0-100, by parser version and scenario.
        binary: Whether a scenario's score is a share of samples, so that it has a Wilson interval.
        scorer: Id of the classifier whose scores are its values; empty if it needs none.
    """

    id: str
    summary: str
    reference: str
    scenarios: tuple[str, ...]
    formula: Callable[[str], Expr]
    scenario_formula: Callable[[str, str], Expr]
    binary: bool
    scorer: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A completion as the sub-value functions see it."""

    sample: Sample
    parsed: Parsed
    value: float | None


@dataclass(frozen=True)
class RowContext:
    """What turning rows into samples needs besides the rows.

    Attributes:
        pack: The pack, for rows that come from another file (demonstrations).
        prompts: Its texts.
        scenario: The scenario.
        seed: Seed of all draws.
        original_turns: Whether turns are those of the original, however malformed, and not those
            that a model's own chat template accepts.
    """

    pack: Pack
    prompts: Prompts
    scenario: str
    seed: int
    original_turns: bool = False


class Dimension(ABC):
    """A trust dimension. Subclasses are stateless and live in `dimensions/<name>/`."""

    name: ClassVar[str]
    summary: ClassVar[str]
    data_sets: ClassVar[tuple[DataSet, ...]]
    scenarios: ClassVar[tuple[str, ...]]
    row_model: ClassVar[type[Row]]
    metrics: ClassVar[tuple[Metric, ...]]
    parsers: ClassVar[tuple[ParserVersion, ...]]
    also_run: ClassVar[tuple[str, ...]] = ()
    """Scenarios of further metrics that run unasked, with those of the default metric, where the
    pack has rows for them."""
    shows_texts: ClassVar[bool] = True
    """Whether people may see its texts at all, where the pack allows it."""
    replays: ClassVar[bool] = False
    """Whether its prompts can be sent under a load that the specification names."""

    @abstractmethod
    def samples(self, rows: Sequence[Any], context: RowContext) -> Iterator[Sample]:
        """Renders rows to samples, in order."""

    @abstractmethod
    def sampling(self, scenario: str, profile: str) -> Sampling:
        """How completions of a scenario are drawn under a sampling profile."""

    @abstractmethod
    def prompt_keys(self, scenario: str) -> tuple[str, ...]:
        """Keys of the texts that prompts of a scenario are made of."""

    def stratum(self, row: Any) -> tuple[str, ...]:
        """Stratum of a row for bounded selections; by default rows are of one."""
        del row
        return ()

    def row_model_of(self, scenario: str) -> type[Row]:
        """Model of a scenario's rows, for dimensions whose scenarios have rows of several kinds."""
        del scenario
        return self.row_model

    def extra_files(self, scenario: str) -> tuple[str, ...]:
        """Files of the pack that a scenario needs besides its rows, with rows of the same model."""
        del scenario
        return ()

    def sub_values(
        self, scenario: str, outcomes: Sequence[Outcome], parser: ParserVersion
    ) -> dict[str, float]:
        """The dimension's own sub-values of a scenario by a parser version, fractions by name."""
        del scenario, outcomes, parser
        return {}

    def overall_values(self, by_scenario: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
        """Sub-values of the dimension as a whole, from those of its scenarios."""
        del by_scenario
        return {}

    def refusal_rate(self, rates: Mapping[str, float]) -> float:
        """The dimension's refusal rate from those of its scenarios: their plain mean."""
        return fmean(rates.values()) if rates else 0.0

    def paper_rounded(
        self, metric: Metric, sub_values: Mapping[str, Mapping[str, float]]
    ) -> float | None:
        """The score with the original's intermediate rounding; None where it rounds nothing."""
        del metric, sub_values
        return None

    @property
    def default_metric(self) -> Metric:
        """The metric of the dimension's score."""
        return self.metrics[0]

    def metric(self, identifier: str) -> Metric:
        """A metric by id; empty means the default one.

        Raises:
            InvalidArgument: If the dimension has none of that id.
        """
        if not identifier:
            return self.default_metric
        return _named("metric", identifier, {metric.id: metric for metric in self.metrics})

    def metric_of_scorer(self, scorer: str) -> Metric | None:
        """The metric with a classifier behind it; None if the dimension needs none."""
        del scorer
        return None

    def with_scorer(self, scorer: str) -> Dimension:
        """The dimension with another classifier behind its metric.

        One that needs none stays as it is, so that all evaluators can share the setting.
        """
        metric = self.metric_of_scorer(scorer)
        if metric is None:
            return self
        kind = type(self)
        configured: Dimension = type(kind.__name__, (kind,), {"metrics": (metric,)})()
        return configured

    def parser(self, version: str) -> ParserVersion:
        """A parser version by name; empty means the default one.

        Raises:
            InvalidArgument: If the dimension has none of that name.
        """
        if not version:
            return self.parsers[0]
        return _named("parser_version", version, {p.version: p for p in self.parsers})


def dimension_names() -> tuple[str, ...]:
    """Names of all installed dimensions, sorted."""
    return tuple(sorted(entry_points(group=ENTRY_POINTS).names))


def load_dimension(name: str) -> Dimension:
    """Loads an installed dimension.

    Raises:
        NotFound: If none of that name is installed.
    """
    found = entry_points(group=ENTRY_POINTS)
    if name not in found.names:
        raise NotFound(
            f"no dimension {name!r} is installed",
            reason="UNKNOWN_DIMENSION",
            field="dimension",
            remedy=f"use one of {', '.join(sorted(found.names))}",
        )
    dimension = found[name].load()
    if not isinstance(dimension, Dimension) or dimension.name != name:
        raise TypeError(f"entry point {ENTRY_POINTS}:{name} is not that dimension")
    return dimension


def _named(field_name: str, key: str, table: Mapping[str, NamedT]) -> NamedT:
    if key not in table:
        raise InvalidArgument.of(
            field_name, f"{key!r} is not known", remedy=f"use one of {', '.join(table)}"
        )
    return table[key]
