"""Trust against bits, one small static SVG per dimension.

Static SVG and no script: it opens at once with fifty variants, prints, and needs no exception in
the content security policy. A dimension has its own picture, so that at 400 px they stand in one
column and the text keeps its size. Methods differ by marker *and* by colour (Okabe and Ito's).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from assay_coordinator.report.model import ReportData, ReportScore, ReportVariant

WIDTH, HEIGHT = 360, 250
LEFT, RIGHT, TOP, BOTTOM = 38, 12, 12, 52
STRIP = 92  # width of the strip of pruned variants, which have no place on the axis of bits

# method -> (marker, CSS class of the colour)
MARKERS = {
    "dense": ("square", "c0"),
    "gptq": ("circle", "c1"),
    "awq": ("triangle", "c2"),
    "rtn": ("diamond", "c3"),
    "magnitude": ("diamond", "c4"),
    "sparsegpt": ("triangle", "c5"),
    "wanda": ("circle", "c6"),
    "noise": ("cross", "c7"),
}
_OTHER = ("cross", "c7")


@dataclass(frozen=True)
class Point:
    """A score with its interval, in pixels."""

    x: float
    y: float
    low: float
    high: float
    path: str
    colour: str
    description: str


@dataclass(frozen=True)
class Tick:
    """A labelled position on an axis, in pixels."""

    at: float
    label: str


@dataclass(frozen=True)
class Picture:
    """One dimension's plot, ready for the template."""

    dimension: str
    summary: str  # the same facts as text, for readers who do not see the picture
    points: tuple[Point, ...]
    lines: tuple[str, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    reference: float | None
    strip_from: float | None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def legend(data: ReportData) -> list[tuple[str, str, str]]:
    """(method, marker path around (8, 8), colour) of the methods in the report."""
    methods = dict.fromkeys(variant.method for variant in data.variants)
    return [
        (method, _marker(MARKERS.get(method, _OTHER)[0], 8, 8), MARKERS.get(method, _OTHER)[1])
        for method in methods
    ]


def trust_against_bits(data: ReportData) -> list[Picture]:
    """One picture per dimension that has a score."""
    pictures = [_picture(data, dimension) for dimension in data.dimensions]
    return [picture for picture in pictures if picture is not None]


def _picture(data: ReportData, dimension: str) -> Picture | None:
    cells = [(variant, data.score(variant.key, dimension)) for variant in data.variants]
    shown = [(v, s, value) for v, s in cells if s and (value := _value(s)) is not None]
    if not shown:
        return None
    placed = _x_positions([variant for variant, _, _ in shown])
    lowest = min(min(value, s.interval_low or value) for _, s, value in shown)
    highest = max(max(value, s.interval_high or value) for _, s, value in shown)
    floor, ceiling = _round_range(lowest, highest)

    def y(value: float) -> float:
        share = (value - floor) / (ceiling - floor)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 1)

    points = []
    for variant, score, value in shown:
        marker, colour = MARKERS.get(variant.method, _OTHER)
        x = placed[variant.key]
        low = value if score.interval_low is None else score.interval_low
        high = value if score.interval_high is None else score.interval_high
        points.append(
            Point(x, y(value), y(low), y(high), _marker(marker, x, y(value)), colour,
                  _describe(variant, score, value))
        )  # fmt: skip
    dense = [point for (variant, _, _), point in zip(shown, points, strict=True)
             if variant.family == "dense"]  # fmt: skip
    pruned = [v for v, _, _ in shown if v.family == "pruned"]
    return Picture(
        dimension=dimension,
        summary="; ".join(point.description for point in points),
        points=tuple(points),
        lines=tuple(_lines(shown, points)),
        x_ticks=tuple(_x_ticks([v for v, _, _ in shown], placed)),
        y_ticks=tuple(Tick(y(at), f"{at:g}") for at in _steps(floor, ceiling)),
        reference=dense[0].y if len(dense) == 1 else None,
        strip_from=WIDTH - RIGHT - STRIP + 6 if pruned else None,
    )


def _value(score: ReportScore) -> float | None:
    return score.partial_value if score.value is None else score.value


def _describe(variant: ReportVariant, score: ReportScore, value: float) -> str:
    text = f"{variant.label}: {value:.1f}"
    if score.interval_low is not None and score.interval_high is not None:
        text += f" [{score.interval_low:.1f}, {score.interval_high:.1f}]"
    return text + ("" if score.complete else " (incomplete)")


def _bits(variant: ReportVariant) -> float:
    return variant.bits_per_weight or 16.0


def _x_positions(variants: list[ReportVariant]) -> dict[str, float]:
    """Pixels: bits on a falling logarithmic axis; pruned variants side by side in a strip."""
    on_axis = [variant for variant in variants if variant.family != "pruned"]
    pruned = [variant for variant in variants if variant.family == "pruned"]
    right = WIDTH - RIGHT - (STRIP if pruned else 0)
    low = min((math.log2(_bits(v)) for v in on_axis), default=1.0) - 0.3
    high = max((math.log2(_bits(v)) for v in on_axis), default=5.0) + 0.3
    positions: dict[str, float] = {}
    taken: dict[float, int] = {}
    for variant in on_axis:
        share = (high - math.log2(_bits(variant))) / (high - low)
        x = round(LEFT + share * (right - LEFT), 1)
        nudge = taken.get(x, 0)  # variants with equal bits stand beside each other
        taken[x] = nudge + 1
        positions[variant.key] = x + (5.0 * ((nudge + 1) // 2) * (-1) ** nudge if nudge else 0.0)
    for index, variant in enumerate(pruned):
        share = (index + 0.5) / len(pruned)
        positions[variant.key] = round(right + 6 + share * (STRIP - 6), 1)
    return positions


def _x_ticks(variants: list[ReportVariant], placed: dict[str, float]) -> list[Tick]:
    ticks: dict[str, Tick] = {}
    pruned = [variant for variant in variants if variant.family == "pruned"]
    for variant in variants:
        if variant.family != "pruned":
            label = f"{_bits(variant):.2g}"
            ticks.setdefault(label, Tick(placed[variant.key], label))
        elif len(pruned) <= 3:
            label = variant.label.removeprefix(f"{variant.method}-")
            ticks[variant.key] = Tick(placed[variant.key], label[:9])
    return _apart(list(ticks.values()))


def _apart(ticks: list[Tick], least: float = 16.0) -> list[Tick]:
    """Drop labels that would run into the one before."""
    kept: list[Tick] = []
    for tick in sorted(ticks, key=lambda tick: tick.at):
        if not kept or tick.at - kept[-1].at >= least:
            kept.append(tick)
    return kept


def _lines(shown: list[tuple[ReportVariant, ReportScore, float]], points: list[Point]) -> list[str]:
    """One line per model and method through its quantized variants, for the eye only."""
    groups: dict[tuple[str, str], list[Point]] = {}
    for (variant, _, _), point in zip(shown, points, strict=True):
        if variant.family == "quantized":
            groups.setdefault((variant.model, variant.method), []).append(point)
    return [
        " ".join(f"{point.x},{point.y}" for point in sorted(group, key=lambda p: p.x))
        for group in groups.values()
        if len(group) > 1
    ]


def _round_range(low: float, high: float) -> tuple[float, float]:
    """Whole fives around the data, inside 0-100, at least ten points high."""
    floor = max(0.0, 5.0 * math.floor((low - 1) / 5))
    ceiling = min(100.0, 5.0 * math.ceil((high + 1) / 5))
    if ceiling - floor < 10:
        floor, ceiling = max(0.0, ceiling - 10), max(10.0, ceiling)
    return floor, ceiling


def _steps(floor: float, ceiling: float) -> list[float]:
    step = next(s for s in (2.0, 5.0, 10.0, 20.0, 25.0) if (ceiling - floor) / s <= 6)
    first = step * math.ceil(floor / step)
    return [first + i * step for i in range(int((ceiling - first) / step) + 1)]


def _marker(kind: str, x: float, y: float, r: float = 5.0) -> str:
    """SVG path of a marker."""
    if kind == "circle":
        return f"M{x - r},{y}a{r},{r} 0 1,0 {2 * r},0a{r},{r} 0 1,0 {-2 * r},0z"
    if kind == "square":
        return f"M{x - r},{y - r}h{2 * r}v{2 * r}h{-2 * r}z"
    if kind == "diamond":
        return f"M{x},{y - r - 1}L{x + r + 1},{y}L{x},{y + r + 1}L{x - r - 1},{y}z"
    if kind == "triangle":
        return f"M{x},{y - r - 1}L{x + r + 1},{y + r}L{x - r - 1},{y + r}z"
    return f"M{x - r},{y - r}L{x + r},{y + r}M{x - r},{y + r}L{x + r},{y - r}"
