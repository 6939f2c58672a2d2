"""Every picture of a report as SVG and PNG, in one ZIP file."""

from __future__ import annotations

import io
import zipfile

from assay_coordinator.report.figures import render_png, render_svg
from assay_coordinator.report.model import ReportData
from assay_coordinator.report.plots import every_plot

_FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # equal reports give equal bytes


def render_plots(data: ReportData) -> bytes:
    """The archive; file names are those of the plots."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for plot in every_plot(data):
            for form, content in (("svg", render_svg(plot)), ("png", render_png(plot))):
                safe = "".join(c if c.isalnum() or c in "-._@" else "-" for c in plot.name)
                archive.writestr(zipfile.ZipInfo(f"{safe}.{form}", _FIXED_TIME), content)
    return out.getvalue()
