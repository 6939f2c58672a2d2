"""A study's result in the terminal: variant by dimension, difference with its interval, verdict."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from assay_cli import words
from assay_cli.failures import ExitCode
from assay_core.pb import common_pb2, comparison_pb2, coordination_pb2

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


def comparison_table(
    study: coordination_pb2.Study, comparisons: Sequence[comparison_pb2.Comparison]
) -> Table:
    """Scores by variant and dimension; a variant's cell also holds its difference to the parent."""
    dimensions = list(study.spec.dimensions)
    by_cell = {
        (each.variant_key, each.dimension): each for each in comparisons if not each.scenario
    }
    gates = {each.variant_key: each for each in study.gate_result.variants}
    table = Table(title=study.spec.name, title_justify="left")
    table.add_column("variant", no_wrap=True)
    for dimension in dimensions:
        table.add_column(dimension, no_wrap=True)
    if gates:
        table.add_column("gate", no_wrap=True)
    for variant in study.variants:
        evaluations = {each.dimension: each for each in variant.evaluations}
        cells = [
            _cell(evaluations.get(dimension), by_cell.get((variant.key, dimension)))
            for dimension in dimensions
        ]
        if gates:
            gate = gates.get(variant.key)
            cells.append(_verdict(gate.verdict) if gate else Text(""))
        table.add_row(variant.key, *cells)
    return table


def legend(
    study: coordination_pb2.Study, comparisons: Sequence[comparison_pb2.Comparison]
) -> list[str]:
    """What the table's marks mean, only those that occur, and why a gate did not pass."""
    lines = ["difference to the dense parent in points [95 % interval]"]
    marks = {
        comparison_pb2.VERDICT_PASS: "within the margin",
        comparison_pb2.VERDICT_FAIL: "worse than the margin",
        comparison_pb2.VERDICT_INCONCLUSIVE: "undecided: more rows would tell",
    }
    seen = {each.verdict for each in comparisons if not each.scenario}
    lines += [f"{words.VERDICT_MARKS[each]} {text}" for each, text in marks.items() if each in seen]
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
        return Text(words.state(evaluation.state), style="dim")
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
