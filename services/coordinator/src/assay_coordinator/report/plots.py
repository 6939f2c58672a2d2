"""What a report draws: trust against bits, answers, frontier, differences, layers, seeds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from assay_coordinator.report import drawing
from assay_coordinator.report.costs import against_computation, frontiers
from assay_coordinator.report.drawing import mean
from assay_coordinator.report.figures import Plot
from assay_coordinator.report.model import ReportData, ReportScore, ReportVariant

_WIDTH, _HEIGHT = 4.2, 3.0
_ROW = drawing.ROW


def trust_against_bits(data: ReportData) -> list[Plot]:
    """One picture per dimension that has a score; pruned variants stand in a strip of their own."""
    plots = []
    for dimension in data.dimensions:
        cells = _cells(data, dimension)
        if cells:
            summary = "; ".join(_described(variant, score) for variant, score in cells)
            draw = partial(drawing.draw_bits, cells)
            plots.append(
                Plot(
                    f"bits-{dimension}", dimension, f"{dimension}: {summary}", _WIDTH, _HEIGHT, draw
                )
            )
    return plots


def overview(data: ReportData) -> list[Plot]:
    """Frontiers of trust against its costs, and which dimensions fall most."""
    others = (against_computation(data), _falls(data))
    return [*frontiers(data), *(plot for plot in others if plot is not None)]


def heat_map(data: ReportData) -> Plot | None:
    """Paired differences of every variant in every dimension."""
    rows = [
        v
        for v in data.variants
        if any(_difference(data, v, d) is not None for d in data.dimensions)
    ]
    if not rows:
        return None
    summary = "; ".join(
        f"{v.label} {d} {value:+.1f}"
        for v in rows
        for d in data.dimensions
        if (value := _difference(data, v, d)) is not None
    )
    values = [[_difference(data, variant, d) for d in data.dimensions] for variant in rows]
    width = 2.3 + 0.72 * len(data.dimensions)
    height = 1.1 + _ROW * len(rows)
    draw = partial(drawing.draw_heat, data.dimensions, rows, values)
    return Plot("differences", "Paired differences in points", summary, width, height, draw)


def answers(data: ReportData) -> list[Plot]:
    """How the completions of each variant divide into verdicts, per dimension."""
    plots = []
    for dimension in data.dimensions:
        cells = [(v, s) for v, s in _cells(data, dimension) if s.completions]
        if not cells:
            continue
        summary = "; ".join(
            f"{v.label}: refused {100 * s.refused / s.completions:.1f} %, "
            f"unparsable {100 * s.unparsable / s.completions:.1f} %"
            for v, s in cells
        )
        height = 0.9 + _ROW * len(cells)
        draw = partial(drawing.draw_answers, cells)
        plots.append(Plot(f"answers-{dimension}", dimension, summary, _WIDTH, height, draw))
    return plots


def weights(data: ReportData, most: int | None = None) -> list[Plot]:
    """Error by layer, and the distribution of the weights that changed most.

    Args:
        data: The report.
        most: Most variants whose distribution is drawn, those with the largest error first; None
            draws all, in the order of the matrix.
    """
    plots = []
    changed = [variant for variant in data.variants if len(variant.layers) > 1]
    if changed:
        summary = "; ".join(
            f"{v.label}: {min(layer.relative_error for layer in v.layers):.3f} to "
            f"{max(layer.relative_error for layer in v.layers):.3f}"
            for v in changed
        )
        draw: Callable[[Any], None] = partial(drawing.draw_layers, changed)
        plots.append(Plot("layers", "Relative weight error by layer", summary, _WIDTH, 3.2, draw))
    drawn = [variant for variant in data.variants if variant.histogram is not None]
    if most is not None and len(drawn) > most:
        drawn = sorted(drawn, key=_weight_error, reverse=True)[:most]
    for variant in drawn:
        histogram = variant.histogram
        if histogram is not None:
            summary = f"{variant.label}, {histogram.module}: before and after"
            draw = partial(drawing.draw_histogram, variant)
            name = f"weights-{variant.key.replace('/', '-')}"
            plots.append(
                Plot(name, f"{variant.label}: {histogram.module}", summary, _WIDTH, 2.4, draw)
            )
    return plots


def seeds(data: ReportData) -> list[Plot]:
    """Spread between calibration seeds: one point per seed, by recipe, per dimension."""
    groups: dict[str, list[ReportVariant]] = {}
    for variant in data.variants:
        if not variant.is_reference:
            groups.setdefault(f"{variant.model}/{variant.label}", []).append(variant)
    several = {name: group for name, group in groups.items() if len(group) > 1}
    plots = []
    for dimension in data.dimensions:
        points = {
            name: [d for v in group if (d := _difference(data, v, dimension)) is not None]
            for name, group in several.items()
        }
        points = {name: values for name, values in points.items() if len(values) > 1}
        if points:
            summary = "; ".join(
                f"{name}: {min(values):+.1f} to {max(values):+.1f}"
                for name, values in points.items()
            )
            methods = {name: several[name][0].method for name in points}
            height = 0.9 + 1.4 * _ROW * len(points)
            draw = partial(drawing.draw_seeds, points, methods)
            plots.append(Plot(f"seeds-{dimension}", dimension, summary, _WIDTH, height, draw))
    return plots


def every_plot(data: ReportData) -> list[Plot]:
    """All of them, for the archive of pictures."""
    heat = heat_map(data)
    return [
        *trust_against_bits(data), *overview(data), *([heat] if heat else []),
        *answers(data), *weights(data), *seeds(data),
    ]  # fmt: skip


# -- data --------------------------------------------------------------------------------------


def _cells(data: ReportData, dimension: str) -> list[tuple[ReportVariant, ReportScore]]:
    """Variants with a score in a dimension."""
    found = ((variant, data.score(variant.key, dimension)) for variant in data.variants)
    return [(v, s) for v, s in found if s is not None and s.shown is not None]


def _difference(data: ReportData, variant: ReportVariant, dimension: str) -> float | None:
    comparison = data.comparison(variant.key, dimension)
    return comparison.difference if comparison is not None else None


def _weight_error(variant: ReportVariant) -> float:
    """Mean relative error of a variant's layers."""
    return mean([layer.relative_error for layer in variant.layers]) if variant.layers else 0.0


def _described(variant: ReportVariant, score: ReportScore) -> str:
    text = f"{variant.label}: {score.shown or 0.0:.1f}"
    if score.interval_low is not None and score.interval_high is not None:
        text += f" [{score.interval_low:.1f}, {score.interval_high:.1f}]"
    return text + ("" if score.complete else " (incomplete)")


def _falls(data: ReportData) -> Plot | None:
    by_dimension = {
        dimension: [
            (variant, value)
            for variant in data.variants
            if (value := _difference(data, variant, dimension)) is not None
        ]
        for dimension in data.dimensions
    }
    by_dimension = {name: values for name, values in by_dimension.items() if values}
    if not by_dimension:
        return None
    order = sorted(by_dimension, key=lambda d: mean([value for _, value in by_dimension[d]]))
    summary = "; ".join(
        f"{d}: {mean([value for _, value in by_dimension[d]]):+.1f} on average" for d in order
    )
    draw = partial(drawing.draw_falls, {d: by_dimension[d] for d in order})
    height = 0.9 + 1.4 * _ROW * len(order)
    return Plot("falls", "Which dimensions fall most", summary, 2 * _WIDTH, height, draw)
