"""The pictures of a report."""

import io
import zipfile

from report_facts import HOSTILE, rich_facts

from assay_coordinator.report.archive import render_plots
from assay_coordinator.report.assemble import Facts, assemble
from assay_coordinator.report.figures import render_svg
from assay_coordinator.report.plots import every_plot


def test_there_is_a_picture_for_everything_that_can_be_drawn():
    names = {plot.name for plot in every_plot(assemble(rich_facts()))}
    assert names == {
        "bits-ethics", "bits-fairness", "pareto", "falls", "differences", "answers-ethics",
        "answers-fairness", "layers", "weights-demo-gptq-3bit-g128-seed0",
        "weights-demo-gptq-3bit-g128-seed1", "weights-demo-magnitude-2:4-seed0",
        "seeds-ethics", "seeds-fairness",
    }  # fmt: skip


def test_the_archive_holds_every_picture_as_svg_and_png_and_is_reproducible():
    data = assemble(rich_facts())
    content = render_plots(data)
    assert content == render_plots(data)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        assert len(names) == 2 * len(every_plot(data))
        assert archive.read("bits-ethics.png").startswith(b"\x89PNG")
        assert b"<svg" in archive.read("bits-ethics.svg")


def test_a_name_that_is_no_formula_and_has_no_end_is_drawn_as_it_stands():
    base = rich_facts()
    odd = [
        v.model_copy(update={"label": text})
        for v, text in zip(base.variants, ("$\\frac{", "x" * 500, HOSTILE, "\n\x00"), strict=True)
    ]
    data = assemble(Facts(**{**base.__dict__, "variants": tuple(odd)}))
    assert all(render_svg(plot).startswith(b"<?xml") for plot in every_plot(data))


def test_the_frontier_has_what_nothing_smaller_beats():
    plot = next(p for p in every_plot(assemble(rich_facts())) if p.name == "pareto")
    assert "gptq-3bit-g128, 7.0 MiB" in plot.summary
    assert "dense, 32.0 MiB, 80.0" in plot.summary
