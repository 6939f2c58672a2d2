"""Drawing: a plot as SVG or PNG, by matplotlib, the same bytes for the same data.

Static pictures: no script runs in a report, so its content security policy can forbid them all, and
fifty variants open at once. Glyphs are paths, so that a picture looks the same everywhere. Methods
differ by marker *and* colour: Okabe and Ito's palette, with darker hues for two methods, because
its own come too near to others for readers without red or green cones (a test simulates them).
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# method -> (marker, colour)
STYLES = {
    "dense": ("s", "#000000"),
    "gptq": ("o", "#0072b2"),
    "awq": ("^", "#d55e00"),
    "rtn": ("D", "#009e73"),
    "magnitude": ("P", "#cc79a7"),
    "sparsegpt": ("v", "#56b4e9"),
    "wanda": ("X", "#772211"),
    "noise": ("*", "#555555"),
}
OTHER = ("h", "#555555")

_LOOK = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e6ea",
    "axes.axisbelow": True,
    "svg.fonttype": "path",
    "text.parse_math": False,  # names of users may hold a dollar sign
    "svg.hashsalt": "assay",
}
_DPI = 144
# matplotlib keeps its settings and fonts in globals.
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Plot:
    """A picture that can be drawn.

    Attributes:
        name: Stem of its file.
        title: Caption.
        summary: The same facts as text, for readers who do not see the picture.
        width: Inches.
        height: Inches.
        draw: Draws on an empty figure.
    """

    name: str
    title: str
    summary: str
    width: float
    height: float
    draw: Callable[[Any], None]


def style_of(method: str) -> tuple[str, str]:
    """Marker and colour of a compression method."""
    return STYLES.get(method, OTHER)


def render_svg(plot: Plot) -> bytes:
    """The plot as SVG."""
    return _render(plot, "svg", {"Date": None, "Creator": None})


def render_png(plot: Plot) -> bytes:
    """The plot as PNG at 144 dots per inch."""
    return _render(plot, "png", {"Software": None})


def _render(plot: Plot, form: str, metadata: dict[str, None]) -> bytes:
    with _LOCK, mpl.rc_context(_LOOK):
        figure = Figure(figsize=(plot.width, plot.height), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        plot.draw(figure)
        out = io.BytesIO()
        figure.savefig(out, format=form, metadata=metadata, facecolor="white")
    return out.getvalue()
