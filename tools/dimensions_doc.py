"""Write docs/dimensions.md from what every installed evaluator answers to DescribeDimension.

    python tools/dimensions_doc.py [--check]     (make dimensions-doc)

`--check` writes nothing and fails if the page is not what would be written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from assay_core.pb import evaluation_pb2 as pb
from assay_evaluators.sdk.dimension import dimension_names, load_dimension
from assay_evaluators.service.convert import from_dimension

PAGE = Path(__file__).resolve().parent.parent / "docs" / "dimensions.md"
SHOWN = 4
"""Scenarios of a row that are named; of more the first and the last are."""

HEAD = """\
# Dimensions

Written by `make dimensions-doc` from the answers to `DescribeDimension`; do not edit.
How the parser versions differ, and how good the toxicity classifiers are: [parsers.md](parsers.md).

A score is 0-100, higher is better. *Share* is how much of the default metric's score a scenario is
worth; `1 - x` means that a low x is good. A scenario that has no data makes the score incomplete,
never a mean over the rest. "spec" is the specification that the evaluators were built from.
"""


def page() -> str:
    """The whole page."""
    described = [from_dimension(load_dimension(name)) for name in dimension_names()]
    return "\n".join([HEAD, *_overview(described), *(_section(each) for each in described)])


def _overview(described: Sequence[pb.DescribeDimensionResponse]) -> Iterator[str]:
    yield "| dimension | data sets | metrics | references | licences of the data |"
    yield "|---|---|---|---|---|"
    for each in described:
        yield _row(
            f"[{each.dimension}](#{each.dimension})",
            "; ".join(data.name for data in each.data_sets),
            ", ".join(f"`{metric.id}`" for metric in each.metrics),
            "; ".join(_distinct(data.reference for data in each.data_sets)),
            ", ".join(_distinct(data.licence for data in each.data_sets)),
        )
    yield ""


def _section(described: pb.DescribeDimensionResponse) -> str:
    formula = MessageToDict(described.formula)
    lines = [
        f"## {described.dimension}",
        described.summary,
        "",
        "| data set | licence | reference |",
        "|---|---|---|",
        *(_row(each.name, each.licence, each.reference) for each in described.data_sets),
        "",
        "| metric | formula | reference |",
        "|---|---|---|",
        *(_row(f"`{each.id}`", each.summary, each.reference) for each in described.metrics),
        "",
        f"| share of `{described.metrics[0].id}` | of each | scenarios |",
        "|---|---|---|",
        *_shares(formula),
        "",
        "| parser | rule |",
        "|---|---|",
        *(_row(f"`{each.version}`", each.summary) for each in described.parsers),
        "",
    ]
    unscored = [name for name in described.scenarios if name not in set(_scenarios(formula))]
    if unscored:
        lines += [f"Not in the default metric: {_names(unscored)}.", ""]
    return "\n".join(lines)


def _shares(formula: Mapping[str, Any]) -> Iterator[str]:
    """Scenarios that are worth the same, in the order of the formula."""
    groups: dict[tuple[str, str], list[str]] = {}
    for share, what, scenario in _leaves(formula, 100.0, ""):
        groups.setdefault((f"{share:.2f} %", what), []).append(scenario)
    for (percent, what), scenarios in groups.items():
        yield _row(percent, what, _names(scenarios))


def _leaves(node: Mapping[str, Any], share: float, around: str) -> Iterator[tuple[float, str, str]]:
    """Share, what is taken, and scenario of every leaf."""
    operation = node["op"]
    if operation == "weighted_mean":
        total = sum(term["weight"] for term in node["terms"])
        for term in node["terms"]:
            yield from _leaves(term["of"], share * term["weight"] / total, around)
    elif operation == "scale":
        yield from _leaves(node["of"], share, around)
    elif "of" in node:
        yield from _leaves(node["of"], share, f"{around}{_AROUND.get(operation, operation + ' ')}")
    else:
        what = "mean of maxima" if node.get("reduce") == "max" else operation
        yield share, f"{around}{what}", node["scenario"]


_AROUND = {"one_minus": "1 - "}


def _scenarios(formula: Mapping[str, Any]) -> Iterator[str]:
    return (scenario for _, _, scenario in _leaves(formula, 1.0, ""))


def _names(names: Sequence[str]) -> str:
    if len(names) <= SHOWN:
        return ", ".join(f"`{name}`" for name in names)
    return f"{len(names)}: `{names[0]}` ... `{names[-1]}`"


def _distinct(values: Any) -> list[str]:
    return list(dict.fromkeys(values))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def main() -> None:
    """Writes the page, or checks it."""
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, "utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != text:
        sys.exit(f"{PAGE.name} is not up to date: run `make dimensions-doc`")


if __name__ == "__main__":
    main()
