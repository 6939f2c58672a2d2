"""Our differences beside the published ones, where model and method match.

`published.csv` holds facts: the scores that the authors of "Decoding Compressed Trust" (arXiv
2403.15447) publish, rounded to 0.1 by them; its first lines name repository, file and commit. It is
for directions and orders of magnitude, never an exact target: engines, prompts and parsers differ.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from statistics import fmean

from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.report.model import Published, ReportVariant

_FILE = "published.csv"
_NAMES = ("model", "method", "level")
# Vicuna's GPTQ toxicity is far from its 8-bit AWQ twin and from dense: a change of scorer between
# the authors' runs is likely, so it is no reference.
_DOUBTFUL = frozenset({("vicuna-13b-v1.3", "gptq", "toxicity")})
_ALIASES = {"meta-llama": "", "lmsys": "", "-hf": "", "_": "-"}


@dataclass(frozen=True)
class PublishedRow:
    """A published setting: a model, a method and its level; one per calibration seed."""

    model: str
    method: str
    level: str
    scores: dict[str, float]


def beside_published(
    variants: Sequence[ReportVariant], comparisons: Iterable[Comparison]
) -> tuple[Published, ...]:
    """Every whole-dimension comparison that has a published counterpart."""
    by_key = {variant.key: variant for variant in variants}
    found = []
    for comparison in comparisons:
        variant = by_key.get(comparison.variant_key)
        if variant is None or comparison.scenario or comparison.difference is None:
            continue
        if not is_against_dense(comparison, by_key):
            continue
        model = _model(variant.model)
        dense = _rows(model, "dense", "16")
        rows = _rows(model, variant.method, level_of(variant))
        values = [
            row.scores[comparison.dimension] for row in rows if comparison.dimension in row.scores
        ]
        reference = dense[0].scores.get(comparison.dimension) if dense else None
        doubtful = (model, variant.method, comparison.dimension) in _DOUBTFUL
        if not values or reference is None or doubtful:
            continue
        found.append(
            Published(
                variant_key=variant.key,
                dimension=comparison.dimension,
                parser_version=comparison.parser_version,
                difference=comparison.difference,
                interval_low=comparison.interval_low,
                interval_high=comparison.interval_high,
                published_difference=sum(values) / len(values) - reference,
                published_low=min(values) - reference,
                published_high=max(values) - reference,
                published_seeds=len(values),
            )
        )
    return tuple(found)


def is_against_dense(comparison: Comparison, by_key: Mapping[str, ReportVariant]) -> bool:
    """Whether the reference is the variant's own dense parent, as in the published table."""
    variant, reference = (
        by_key.get(key) for key in (comparison.variant_key, comparison.reference_key)
    )
    return (
        variant is not None
        and reference is not None
        and reference.method == "dense"
        and reference.model == variant.model
    )


def published_changes(method: str, level: str) -> list[float]:
    """Mean change of the trust dimensions, variant minus dense, of every published setting."""
    dense = {row.model: row.scores for row in published_rows() if row.method == "dense"}
    return [
        fmean(
            value - dense[row.model][name]
            for name, value in row.scores.items()
            if name != "utility"
            and name in dense[row.model]
            and (row.model, method, name) not in _DOUBTFUL
        )
        for row in published_rows()
        if (row.method, row.level) == (method, level) and row.model in dense
    ]


@cache
def published_rows() -> tuple[PublishedRow, ...]:
    """The shipped table."""
    text = resources.files(__package__).joinpath(_FILE).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return tuple(
        PublishedRow(
            model=row["model"],
            method=row["method"],
            level=row["level"],
            scores={
                name: float(value) for name, value in row.items() if name not in _NAMES and value
            },
        )
        for row in csv.DictReader(lines)
    )


def _rows(model: str, method: str, level: str) -> list[PublishedRow]:
    wanted = (model, method, level)
    return [row for row in published_rows() if (row.model, row.method, row.level) == wanted]


def _model(name: str) -> str:
    """`Llama-2-13b-chat-hf` as the table writes it: `llama-2-13b-chat`."""
    text = name.split("@", 1)[0].lower()
    for old, new in _ALIASES.items():
        text = text.replace(old, new)
    return text.strip("-")


def level_of(variant: ReportVariant) -> str:
    """`3` of `gptq-3bit-g128`, `2:4` of `wanda-2:4`."""
    rest = variant.label.removeprefix(f"{variant.method}-")
    return rest.split("bit", 1)[0] if "bit" in rest else rest
