"""Drawing on a figure of matplotlib: one function per kind of picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from assay_coordinator.report.figures import style_of
from assay_coordinator.report.model import ReportScore, ReportVariant

ROW = 0.26  # inches of a line of text
_LEAST_SPAN = 4.0  # points
_LONGEST = 28  # characters of a label
ANSWERS = (
    ("answered", "#0072b2", ""),
    ("refused", "#d55e00", "///"),
    ("unparsable", "#a0a0a0", "..."),
    ("overlength", "#000000", "xx"),
)


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean."""
    return sum(values) / len(values)


def short(text: str) -> str:
    """A label that leaves room for the picture."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"


def draw_bits(cells: Sequence[tuple[ReportVariant, ReportScore]], figure: Any) -> None:
    """Score against bits per weight; pruned variants in a strip beside the axis."""
    pruned = [cell for cell in cells if cell[0].family == "pruned"]
    others = [cell for cell in cells if cell[0].family != "pruned"]
    ratios = [3, min(1.6, max(1.0, 0.35 * len(pruned)))] if pruned else [1]
    axes = figure.subplots(1, len(ratios), sharey=True, width_ratios=ratios, squeeze=False)[0]
    bits = [variant.bits_per_weight or 16.0 for variant, _ in others]
    for (variant, score), x in zip(others, bits, strict=True):
        _point(axes[0], x, variant, score)
    for method in dict.fromkeys(v.method for v, _ in others if v.family == "quantized"):
        line = sorted(
            (x, s.shown)
            for (v, s), x in zip(others, bits, strict=True)
            if v.method == method and s.shown is not None
        )
        axes[0].plot(*zip(*line, strict=True), color=style_of(method)[1], linewidth=0.8, zorder=1)
    axes[0].set_xscale("log", base=2)
    axes[0].invert_xaxis()
    ticks = _apart(sorted(set(bits), reverse=True))
    axes[0].set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
    axes[0].minorticks_off()
    axes[0].set_xlabel("bits per weight")
    dense = [s.shown for v, s in cells if v.family == "dense"]
    for axis in axes:
        if len(dense) == 1:
            axis.axhline(dense[0], color="black", linewidth=0.8, linestyle=(0, (5, 4)), zorder=0)
    if pruned:
        for x, (variant, score) in enumerate(pruned):
            _point(axes[1], x, variant, score)
        labels = [
            short(v.label.removeprefix(f"{v.method}-")) if len(pruned) <= 3 else ""
            for v, _ in pruned
        ]
        axes[1].set_xticks(range(len(pruned)), labels)
        axes[1].set_xlim(-0.6, len(pruned) - 0.4)
        axes[1].set_xlabel("pruned")
    _legend(figure, [variant for variant, _ in cells])


def _legend(figure: Any, variants: Sequence[ReportVariant]) -> None:
    """Marker and colour of each method, above the picture."""
    methods = dict.fromkeys(variant.method for variant in variants)
    handles = [
        Line2D([], [], linestyle="", marker=style_of(method)[0], color=style_of(method)[1])
        for method in methods
    ]
    figure.legend(
        handles, list(methods), loc="outside upper center", ncols=4, fontsize=7.5, frameon=False
    )


def _apart(ticks: Sequence[float]) -> list[float]:
    """Ticks that do not run into one another on a logarithmic axis."""
    kept: list[float] = []
    for tick in ticks:
        if not kept or kept[-1] / tick > 1.18:
            kept.append(tick)
    return kept


def _point(axis: Any, x: float, variant: ReportVariant, score: ReportScore) -> None:
    marker, colour = style_of(variant.method)
    y = score.shown or 0.0
    low = y if score.interval_low is None else score.interval_low
    high = y if score.interval_high is None else score.interval_high
    axis.errorbar(
        [x], [y], yerr=[[max(0.0, y - low)], [max(0.0, high - y)]], fmt=marker, color=colour,
        markersize=6, elinewidth=1.2, markerfacecolor=colour if score.complete else "white",
    )  # fmt: skip


def draw_pareto(
    found: Sequence[tuple[ReportVariant, float, float]],
    best: Sequence[tuple[ReportVariant, float, float]],
    label: str,
    figure: Any,
) -> None:
    """Mean trust against a cost, with the frontier as a step line."""
    axis = figure.subplots()
    axis.step(
        [size for _, size, _ in best], [trust for _, _, trust in best],
        where="post", color="#6e6e6e", linewidth=1, zorder=1,
    )  # fmt: skip
    for variant, size, trust in found:
        marker, colour = style_of(variant.method)
        axis.plot([size], [trust], marker, color=colour, markersize=7)
    for number, (variant, size, trust) in enumerate(best):
        # Above and below in turn, so that neighbours do not write over each other.
        place = (5, -12 if number % 2 else 5)
        axis.annotate(
            short(variant.label), (size, trust), place, textcoords="offset points", fontsize=8
        )
    axis.set_xlabel(label)
    axis.set_ylabel("mean trust score")
    axis.margins(x=0.12, y=0.15)
    _at_least(axis, _LEAST_SPAN)
    _legend(figure, [variant for variant, _, _ in found])


def _at_least(axis: Any, span: float) -> None:
    """A vertical range of this many points or more: noise must not fill a picture."""
    low, high = axis.get_ylim()
    if high - low < span:
        middle = (low + high) / 2
        axis.set_ylim(middle - span / 2, middle + span / 2)


def draw_costs(
    rows: Sequence[tuple[str, Sequence[tuple[str, Sequence[tuple[ReportVariant, float, float]]]]]],
    figure: Any,
) -> None:
    """One row of panels per value, one column per cost."""
    grid = figure.subplots(len(rows), len(rows[0][1]), squeeze=False, sharex="col", sharey="row")
    for axes, (value, panels) in zip(grid, rows, strict=True):
        for axis, (cost, points) in zip(axes, panels, strict=True):
            for variant, x, y in points:
                marker, colour = style_of(variant.method)
                axis.plot([x], [y], marker, color=colour, markersize=6)
            axis.margins(0.15)
            axis.xaxis.set_major_locator(MaxNLocator(5))
            axis.set_xlabel(cost)
            axis.label_outer()
        axes[0].set_ylabel(value)
    _legend(figure, [variant for variant, _, _ in rows[0][1][0][1]])


def draw_falls(by_dimension: dict[str, list[tuple[ReportVariant, float]]], figure: Any) -> None:
    """Paired differences by dimension, the one that falls most first."""
    axis = figure.subplots()
    for y, (_, values) in enumerate(by_dimension.items()):
        for variant, value in values:
            marker, colour = style_of(variant.method)
            axis.plot([value], [y], marker, color=colour, markersize=6, alpha=0.85)
        axis.plot([mean([value for _, value in values])], [y], "|", color="black", markersize=16)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(range(len(by_dimension)), list(by_dimension))
    axis.invert_yaxis()
    axis.margins(y=0.15)
    axis.set_xlabel("paired difference in points; the bar is the mean of the variants")
    _legend(figure, [variant for values in by_dimension.values() for variant, _ in values])


def draw_heat(
    dimensions: Sequence[str],
    rows: Sequence[ReportVariant],
    values: Sequence[Sequence[float | None]],
    figure: Any,
) -> None:
    """Variants by dimensions: the paired difference as number and colour, one hue to each side."""
    axis = figure.subplots()
    shown = [[float("nan") if value is None else value for value in line] for line in values]
    reach = max((abs(v) for line in values for v in line if v is not None), default=1.0) or 1.0
    image = axis.imshow(shown, cmap="PuOr", vmin=-reach, vmax=reach, aspect="auto")
    for y, line in enumerate(values):
        for x, value in enumerate(line):
            if value is not None:
                colour = "white" if abs(value) > 0.7 * reach else "black"
                text = f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")
                axis.text(x, y, text, ha="center", va="center", color=colour, fontsize=8)
    axis.set_xticks(range(len(dimensions)), dimensions, rotation=30, ha="left")
    axis.xaxis.tick_top()
    axis.set_yticks(range(len(rows)), [_seeded(variant) for variant in rows])
    axis.grid(visible=False)
    figure.colorbar(image, ax=axis, shrink=min(1.0, 1.6 / (0.3 + ROW * len(rows))), aspect=12)


def _seeded(variant: ReportVariant) -> str:
    seed = f" ({variant.calibration_seed})" if variant.calibration_seed else ""
    return f"{short(variant.label)}{seed}"


def draw_answers(cells: Sequence[tuple[ReportVariant, ReportScore]], figure: Any) -> None:
    """Shares of verdict classes as stacked bars."""
    axis = figure.subplots()
    names = [_seeded(variant) for variant, _ in cells]
    left = [0.0] * len(cells)
    for name, colour, hatch in ANSWERS:
        shares = [100 * _count(score, name) / score.completions for _, score in cells]
        if any(shares):
            axis.barh(
                range(len(cells)), shares, left=left, color=colour, hatch=hatch, label=name,
                edgecolor="white", height=0.75,
            )  # fmt: skip
        left = [start + share for start, share in zip(left, shares, strict=True)]
    axis.set_yticks(range(len(cells)), names)
    axis.invert_yaxis()
    axis.set_xlim(0, 100)
    axis.grid(visible=False)
    axis.set_xlabel("% of completions")
    figure.legend(loc="outside upper center", ncols=4, fontsize=7.5, frameon=False)


def _count(score: ReportScore, name: str) -> int:
    if name == "answered":
        return score.completions - score.refused - score.unparsable - score.overlength
    return int(getattr(score, name))


def draw_layers(variants: Sequence[ReportVariant], figure: Any) -> None:
    """Relative error of the weights by layer."""
    axis = figure.subplots()
    for variant in variants:
        marker, colour = style_of(variant.method)
        numbers = [layer.layer for layer in variant.layers]
        errors = [layer.relative_error for layer in variant.layers]
        axis.plot(numbers, errors, f"{marker}-", color=colour, markersize=4, linewidth=0.9)
        axis.annotate(
            _seeded(variant), (numbers[-1], errors[-1]), (4, 0), textcoords="offset points",
            fontsize=7, va="center",
        )  # fmt: skip
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel("layer")
    axis.set_ylabel("relative error of the weights")
    axis.margins(x=0.3 if len(variants) > 1 else 0.1)
    axis.set_ylim(bottom=0)


def draw_histogram(variant: ReportVariant, figure: Any) -> None:
    """Weights of one module before and after."""
    histogram = variant.histogram
    if histogram is None:
        return
    axis = figure.subplots()
    edges = histogram.edges
    axis.stairs(histogram.before, edges, color="black", label="before", linewidth=1)
    colour = style_of(variant.method)[1]
    axis.stairs(histogram.after, edges, color=colour, label="after", fill=True, alpha=0.6)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter("{x:,.0f}")  # its own would be a formula, which is not parsed
    axis.yaxis.set_minor_formatter("")
    axis.set_ylim(bottom=0.8)
    axis.set_xlabel("weight")
    axis.set_ylabel("count")
    axis.legend(fontsize=8, frameon=False)


def draw_seeds(points: dict[str, list[float]], methods: dict[str, str], figure: Any) -> None:
    """Paired differences, one mark per calibration seed."""
    axis = figure.subplots()
    for y, (name, values) in enumerate(points.items()):
        marker, colour = style_of(methods[name])
        axis.plot(values, [y] * len(values), marker, color=colour, markersize=6, alpha=0.8)
        axis.plot([mean(values)], [y], "|", color="black", markersize=14)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(range(len(points)), [short(name.split("/", 1)[1]) for name in points])
    axis.invert_yaxis()
    axis.margins(y=0.3, x=0.1)
    axis.set_xlabel("paired difference in points")
