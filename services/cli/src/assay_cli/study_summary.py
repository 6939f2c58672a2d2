"""A study's result in the terminal: variant by dimension, difference with its interval, verdict."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from assay_cli import words
from assay_cli.failures import ExitCode
from assay_coordinator.statistics.interval import LEVEL
from assay_core.pb import common_pb2, comparison_pb2, coordination_pb2

_UNBOUNDED = 10_000
_EXIT_CODES = {
    comparison_pb2.VERDICT_PASS: ExitCode.OK,
    comparison_pb2.VERDICT_FAIL: ExitCode.FAILED_VERDICT,
    comparison_pb2.VERDICT_INCONCLUSIVE: ExitCode.INCONCLUSIVE,
}


def exit_code(study: coordination_pb2.Study) -> ExitCode:
    """What a command ends with after this study: its verdict if it has one."""
    if study.meta.state != common_pb2.STATE_SUCCEEDED:
        return ExitCode.ERROR
    return gate_exit_code(study.gate_result) if study.HasField("gate_result") else ExitCode.OK


def gate_exit_code(result: comparison_pb2.GateResult) -> ExitCode:
    """Exit code of a gate's verdict."""
    return _EXIT_CODES.get(result.verdict, ExitCode.OK)


class ComparisonTable:
    """Scores by variant and dimension; a variant's cell also holds its difference to the parent.

    Of three layouts the first that fits the terminal is printed: a row per variant, a row per
    dimension, a row per pair of them.

    Args:
        study: The study.
        comparisons: Its comparisons.
    """

    def __init__(
        self,
        study: coordination_pb2.Study,
        comparisons: Sequence[comparison_pb2.Comparison],
    ) -> None:
        self._title = study.spec.name
        self._dimensions = list(study.spec.dimensions)
        self._variants = list(study.variants)
        self._gates = {each.variant_key: each for each in study.gate_result.variants}
        self._evaluations = {
            (variant.key, each.dimension): each
            for variant in study.variants
            for each in variant.evaluations
        }
        self._comparisons = {
            (each.variant_key, each.dimension): each for each in comparisons if not each.scenario
        }

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        unbounded = options.update(max_width=_UNBOUNDED)
        for table in (self._row_per_variant(), self._row_per_dimension()):
            if Measurement.get(console, unbounded, table).maximum <= options.max_width:
                yield table
                return
        yield self._row_per_pair()

    def _row_per_variant(self) -> Table:
        table = self._table("variant", *self._dimensions, *(["gate"] if self._gates else []))
        for variant in self._variants:
            cells = [self._cell(variant.key, dimension) for dimension in self._dimensions]
            table.add_row(variant.key, *cells, *([self._gate(variant.key)] if self._gates else []))
        return table

    def _row_per_dimension(self) -> Table:
        table = self._table("dimension", *(variant.key for variant in self._variants))
        for dimension in self._dimensions:
            cells = [self._cell(variant.key, dimension) for variant in self._variants]
            table.add_row(dimension, *cells)
        if self._gates:
            table.add_section()
            table.add_row("gate", *(self._gate(variant.key) for variant in self._variants))
        return table

    def _row_per_pair(self) -> Table:
        table = self._table("variant", "score")
        for variant in self._variants:
            table.add_row(variant.key, self._gate(variant.key))
            for dimension in self._dimensions:
                table.add_row(f"  {dimension}", self._cell(variant.key, dimension))
            table.add_section()
        return table

    def _table(self, *columns: str) -> Table:
        table = Table(title=self._title, title_justify="left")
        for column in columns:
            table.add_column(column, no_wrap=True)
        return table

    def _cell(self, variant: str, dimension: str) -> Text:
        key = (variant, dimension)
        return _cell(self._evaluations.get(key), self._comparisons.get(key))

    def _gate(self, variant: str) -> Text:
        gate = self._gates.get(variant)
        return _verdict(gate.verdict) if gate else Text("")


def _reference(
    study: coordination_pb2.Study, comparisons: Sequence[comparison_pb2.Comparison]
) -> str:
    """The one variant that all others are compared with, if it is not each one's dense parent."""
    models = study.spec.models
    one = study.spec.reference or any(model.uri.startswith("endpoint:") for model in models)
    return comparisons[0].reference_key if one and comparisons else "the dense parent"


def legend(
    study: coordination_pb2.Study, comparisons: Sequence[comparison_pb2.Comparison]
) -> list[str]:
    """What the table's marks mean, only those that occur, and why a gate did not pass."""
    level = max((each.confidence_level for each in comparisons), default=0.0) or LEVEL
    lines = [
        f"difference to {_reference(study, comparisons)} in points [{100 * level:.4g} % interval]"
    ]
    marks = {
        comparison_pb2.VERDICT_PASS: "within the margin",
        comparison_pb2.VERDICT_FAIL: "worse than the margin",
        comparison_pb2.VERDICT_INCONCLUSIVE: "undecided: more rows would tell",
    }
    seen = {each.verdict for each in comparisons if not each.scenario}
    lines += [f"{words.VERDICT_MARKS[each]} {text}" for each, text in marks.items() if each in seen]
    if len(study.spec.dimensions) > 1 and seen:
        lines.append('"surely": also after Holm\'s correction over the dimensions of a variant')
    if _incomplete(study):
        lines.append("* incomplete: score of the scenarios and rows that were there")
    for gate in study.gate_result.variants:
        if gate.verdict != comparison_pb2.VERDICT_PASS:
            lines += [f"{gate.variant_key}: {reason}" for reason in gate.reasons]
    return lines


def _cell(
    evaluation: coordination_pb2.StudyEvaluation | None,
    comparison: comparison_pb2.Comparison | None,
) -> Text:
    if evaluation is None:
        return Text("-", style="dim")
    if evaluation.HasField("error"):
        return Text(f"failed: {evaluation.error.reason.lower()}", style="red")
    score = evaluation.score
    if score.HasField("value"):
        text = Text(f"{score.value:.1f}")
    elif score.HasField("partial_value"):
        text = Text(f"{score.partial_value:.1f}*")
    else:
        ended = evaluation.state == common_pb2.STATE_SUCCEEDED
        return Text("no score" if ended else words.state(evaluation.state), style="dim")
    if comparison is not None and (shift := words.difference(comparison)):
        mark = words.VERDICT_MARKS.get(comparison.verdict, "")
        style = words.VERDICT_STYLES.get(comparison.verdict, "")
        text.append(f"  {shift} {mark}".rstrip(), style=style)
    return text


def _verdict(verdict: comparison_pb2.Verdict.ValueType) -> Text:
    mark = words.VERDICT_MARKS.get(verdict, "")
    return Text(
        f"{mark} {words.verdict(verdict)}".strip(), style=words.VERDICT_STYLES.get(verdict, "")
    )


def _incomplete(study: coordination_pb2.Study) -> bool:
    return any(
        evaluation.HasField("score") and not evaluation.score.HasField("value")
        for variant in study.variants
        for evaluation in variant.evaluations
    )
