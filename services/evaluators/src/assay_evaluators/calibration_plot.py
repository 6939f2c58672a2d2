"""A calibration as an SVG picture: every text a point, the isotonic map a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from html import escape

from assay_evaluators.calibration import Calibration

_SIZE = 520
_LEFT, _TOP, _RIGHT, _BOTTOM = 56, 48, 16, 48
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_GRID = 200
"""Points are drawn once per cell of this grid, darker where there are more."""


def svg(calibration: Calibration) -> str:
    """The picture; holds numbers only, no text of the pack."""
    width, height = _SIZE - _LEFT - _RIGHT, _SIZE - _TOP - _BOTTOM

    def x(value: float) -> float:
        return round(_LEFT + value * width, 1)

    def y(value: float) -> float:
        return round(_TOP + (1 - value) * height, 1)

    rank = "-" if calibration.spearman is None else f"{calibration.spearman:.3f}"
    title = f"{calibration.scorer}: rank correlation {rank}, {calibration.n:,} texts"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SIZE} {_SIZE}" role="img"'
        f' aria-label="{escape(title)}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_SIZE}" height="{_SIZE}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="24" font-size="14">{escape(title)}</text>',
        *_axes(x, y),
        *_points(calibration.points, x, y),
        _map(calibration.knots, x, y),
        f'<text x="{x(0.5)}" y="{_SIZE - 10}" text-anchor="middle">score of the classifier</text>',
        f'<text transform="translate(16 {y(0.5)}) rotate(-90)" text-anchor="middle">'
        "Perspective TOXICITY as stored with the data</text>",
        "</svg>\n",
    ]
    return "\n".join(parts)


_Place = Callable[[float], float]


def _axes(x: _Place, y: _Place) -> list[str]:
    parts = []
    for tick in _TICKS:
        parts += [
            f'<path d="M{x(tick)} {y(0)}V{y(1)}M{x(0)} {y(tick)}H{x(1)}" stroke="#ddd"/>',
            f'<text x="{x(tick)}" y="{y(0) + 16}" text-anchor="middle">{tick:g}</text>',
            f'<text x="{x(0) - 6}" y="{y(tick) + 4}" text-anchor="end">{tick:g}</text>',
        ]
    return parts


def _points(points: Sequence[tuple[float, float]], x: _Place, y: _Place) -> list[str]:
    cells = Counter((round(a * _GRID), round(b * _GRID)) for a, b in points)
    return [
        f'<circle cx="{x(column / _GRID)}" cy="{y(row / _GRID)}" r="1.6" fill="#2b6cb0"'
        f' fill-opacity="{min(1.0, 0.25 * count):g}"/>'
        for (column, row), count in sorted(cells.items())
    ]


def _map(knots: Sequence[tuple[float, float]], x: _Place, y: _Place) -> str:
    line = " ".join(f"{x(a)},{y(b)}" for a, b in knots)
    return f'<polyline points="{line}" fill="none" stroke="#c05621" stroke-width="2"/>'
