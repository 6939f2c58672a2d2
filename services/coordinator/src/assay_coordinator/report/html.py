"""The report as one self-contained HTML file.

Model output and study names are hostile text: everything goes through autoescape, there is no
script at all, and the content security policy allows nothing but the one style sheet, by its hash,
and pictures that are in the file itself.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from assay_coordinator.report import plots
from assay_coordinator.report.figures import Plot, render_svg
from assay_coordinator.report.model import ReportData

_PACKAGE = "assay_coordinator.report"
_STYLE = "report.css"
_NOTHING = "\N{EN DASH}"
# A picture costs the coordinator 0.1 s of processor time; `plots.zip` has them all.
_HISTOGRAMS = 12


def render_html(data: ReportData) -> bytes:
    """Render the report; the result needs no network and no second file."""
    environment = _environment()
    style = environment.get_template(_STYLE).render()
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    template = environment.get_template("report.html.j2")
    heat = plots.heat_map(data)
    text = template.render(
        data=data,
        overview=_pictures(plots.overview(data)),
        bits=_pictures(plots.trust_against_bits(data)),
        heat=_pictures([heat] if heat else []),
        answers=_pictures(plots.answers(data)),
        weights=_pictures(plots.weights(data, _HISTOGRAMS)),
        histograms=_HISTOGRAMS,
        changed=sum(variant.histogram is not None for variant in data.variants),
        seeds=_pictures(plots.seeds(data)),
        texts=any(flip.texts for group in data.flips for flip in group.flips),
        measured=any(v.measured for v in data.variants),
        costs=any(v.measured or v.compression_seconds for v in data.variants),
        style=_STYLE,
        policy=f"default-src 'none'; style-src 'sha256-{style_hash}'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
    )
    return text.encode()


@dataclass(frozen=True)
class _Picture:
    """A drawn plot. An SVG in an `img` runs no script and loads nothing."""

    plot: Plot
    uri: str
    width: int  # CSS pixels
    height: int


def _pictures(found: Sequence[Plot]) -> list[_Picture]:
    return [
        _Picture(
            plot,
            "data:image/svg+xml;base64," + base64.b64encode(render_svg(plot)).decode(),
            round(96 * plot.width),
            round(96 * plot.height),
        )
        for plot in found
    ]


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(_PACKAGE, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        points=_points,
        signed=_signed,
        p=_p_value,
        share=_share,
        span=_span,
        short=_short,
        gib=_gib,
        milliseconds=_milliseconds,
    )
    return environment


def _points(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.1f}"


def _signed(value: float | None) -> str:
    """A difference with a true minus sign, so that columns line up."""
    if value is None:
        return _NOTHING
    shown = round(value, 1)
    return f"{shown:+.1f}".replace("-", "\N{MINUS SIGN}") if shown else "0.0"


def _span(low: float | None, high: float | None = None, *, signed: bool = False) -> str:
    if low is None or high is None:
        return ""
    show = _signed if signed else _points
    return f"[{show(low)}, {show(high)}]"


def _p_value(value: float | None) -> str:
    if value is None:
        return _NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _share(part: float, whole: float) -> str:
    return _NOTHING if not whole else f"{100 * part / whole:.1f} %"


def _gib(size: int | None) -> str:
    return f"{size / 2**30:.2f} GiB" if size else _NOTHING


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.0f} ms"


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
