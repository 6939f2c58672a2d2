"""The report: what stands where, that hostile text stays text, and that it needs nothing else."""

import base64
import csv
import hashlib
import io
import json
import zipfile
from html import unescape
from html.parser import HTMLParser

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from assay_coordinator.domain.comparison import Comparison, GateResult, VariantGate
from assay_coordinator.domain.progress import (
    ArtifactFacts,
    Counts,
    EngineFacts,
    EvaluationStatus,
    Histogram,
    LayerFact,
    ScoreFacts,
    VariantStatus,
)
from assay_coordinator.domain.study_file import load_study
from assay_coordinator.report.archive import render_plots
from assay_coordinator.report.assemble import Facts, assemble, plain_headline
from assay_coordinator.report.figures import render_svg
from assay_coordinator.report.html import render_html
from assay_coordinator.report.model import ReportData, ReportVariant
from assay_coordinator.report.openmetrics import render_openmetrics
from assay_coordinator.report.plots import every_plot
from assay_coordinator.report.published import beside_published, published_rows
from assay_coordinator.report.tabular import CSV_COLUMNS, render_csv, render_json
from assay_coordinator.statistics.decision import Verdict
from assay_coordinator.statistics.interval import Interval
from assay_core.errors import InvalidArgument, to_document

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'>"


def variant(position, label, method, bits, sparsity=0.0, **changes):
    key = f"demo/{label}/seed0"
    return VariantStatus(
        key=key,
        position=position,
        model_name="demo",
        model_uri="models/demo",
        method=method,
        label=label,
        calibration_seed=0,
        reference_key="demo/dense/seed0",
        state="SUCCEEDED",
        artifact=ArtifactFacts(
            uri="file:///a", digest="sha256:" + "ab" * 32, bits_per_weight=bits, sparsity=sparsity
        ),
        engine=EngineFacts(family="vllm-cpu", version="0.32", dtype="float32"),
    ).model_copy(update=changes)


def evaluation(key, dimension, value, missing=()):
    score = ScoreFacts(
        metric=dimension,
        parser_version="assay-2026",
        value=None if missing else value,
        partial_value=value,
        counts=Counts(n=100, n_expected=100, answered=90, refused=6, unparsable=4),
        complete=not missing,
        missing=missing,
        interval=Interval(value - 4, value + 4),
    )
    return EvaluationStatus(
        variant_key=key, dimension=dimension, state="SUCCEEDED", scores=(score,)
    )


def comparison(key, dimension, difference, **changes):
    return Comparison(
        variant_key=key,
        reference_key="demo/dense/seed0",
        dimension=dimension,
        metric=dimension,
        parser_version="assay-2026",
        score=80 + difference,
        reference_score=80,
        difference=difference,
        interval_low=difference - 2,
        interval_high=difference + 2,
        p_value=0.0004,
        p_value_holm=0.0008,
        n_pairs=100,
        n_clusters=50,
        verdict=Verdict.FAIL if difference < -4 else Verdict.INCONCLUSIVE,
    ).model_copy(update=changes)


def facts(**changes):
    spec = load_study(
        "name: small\nmodels: [demo]\n"
        "recipes: [gptq: {bits: [8, 3]}, magnitude: {pattern: '2:4'}]\n"
        "dimensions: [ethics, fairness]\npack: demo\nrow_limit: 20\n"
    )
    dense, q8, q3, pruned = (
        variant(0, "dense", "dense", 16.0),
        variant(1, "gptq-8bit-g128", "gptq", 8.25),
        variant(2, "gptq-3bit-g128", "gptq", 3.25),
        variant(3, "magnitude-2:4", "magnitude", 16.0, 0.5),
    )
    broken = InvalidArgument("group_size 128 does not divide 48", remedy="use 16")
    q8 = q8.model_copy(
        update={"artifact": None, "state": "FAILED", "error": to_document(broken), "engine": None}
    )
    values = {dense.key: 80.0, q3.key: 73.9, pruned.key: 79.0}
    base = Facts(
        study_id="study-1",
        spec=spec,
        state="SUCCEEDED",
        variants=(dense, q8, q3, pruned),
        evaluations=tuple(
            evaluation(
                key, dimension, value, ("few_shot: no train rows",) * (dimension == "fairness")
            )
            for key, value in values.items()
            for dimension in spec.dimensions
        ),
        comparisons=(
            comparison(q3.key, "ethics", -6.1),
            comparison(q3.key, "fairness", -0.5, notes=("differences are biased upward near 0",)),
            comparison(pruned.key, "ethics", -1.0),
            comparison(q3.key, "ethics", -7.0, scenario="zero_shot"),
        ),
        gate=None,
        headline="Do not ship demo/gptq-3bit-g128.",
        generated_at=1_800_000_000.0,
        version="0.1.0",
    )
    return Facts(**{**base.__dict__, **changes})


class Page(HTMLParser):
    """Tags with attributes, and the visible text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self._in = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in.append(tag)

    def handle_endtag(self, tag):
        if tag in self._in:
            while self._in.pop() != tag:
                pass

    def handle_data(self, data):
        if data.strip() and "style" not in self._in and "title" not in self._in:
            self.text.append(" ".join(data.split()))


def page(data):
    return Page(render_html(data).decode())


def test_the_first_line_is_the_answer_in_a_sentence():
    assert page(assemble(facts())).text[1] == "Do not ship demo/gptq-3bit-g128."


def test_sections_stand_in_their_order():
    ids = [a["id"] for tag, a in page(assemble(facts())).tags if tag == "section"]
    assert ids == ["scores", "plots", "details", "answers", "not-run", "provenance"]


def test_a_cell_shows_score_interval_and_paired_difference():
    text = page(assemble(facts())).text
    assert "73.9 [69.9, 77.9]" in text
    assert "-6.1 [-8.1, -4.1]".replace("-", "\N{MINUS SIGN}") in text
    assert "✗ fail" in text
    assert "< 0.001" in text
    assert "6.0 %" in text
    assert "4.0 %" in text


def test_what_was_not_run_is_listed_with_its_reason():
    data = assemble(facts())
    listed = {item.what: item.why for item in data.not_run}
    assert "does not divide" in listed["demo/gptq-8bit-g128/seed0"]
    assert "few_shot" in listed["parts of fairness"]
    assert "20 rows" in listed["further rows"]
    assert any("does not divide 48" in text for text in page(data).text)


def test_demo_scores_say_that_they_say_nothing():
    assert any("say nothing of real models" in text for text in page(assemble(facts())).text)
    spec = load_study(
        "name: x\nmodels: [demo]\nrecipes: [dense]\n"
        "dimensions: [ethics, fairness]\npack: packs/real\n"
    )
    real = facts(spec=spec)
    assert not any("say nothing of real models" in text for text in page(assemble(real)).text)


def test_hostile_text_stays_text_everywhere():
    base = facts()
    variants = list(base.variants)
    variants[2] = variants[2].model_copy(update={"label": HOSTILE, "model_name": HOSTILE})
    variants[1] = variants[1].model_copy(
        update={"error": to_document(InvalidArgument(HOSTILE, remedy=HOSTILE))}
    )
    gate = GateResult(
        verdict=Verdict.FAIL,
        headline=HOSTILE,
        variants=(VariantGate(variant_key=HOSTILE, verdict=Verdict.FAIL, reasons=(HOSTILE,)),),
    )
    spec = base.spec.model_copy(update={"name": HOSTILE})
    comparisons = (base.comparisons[0].model_copy(update={"notes": (HOSTILE,)}),)
    hostile = facts(
        spec=spec, variants=tuple(variants), gate=gate, headline=HOSTILE, comparisons=comparisons
    )
    html = render_html(assemble(hostile)).decode()
    tags = {tag for tag, _ in Page(html).tags}
    assert "script" not in tags
    pictures = [a["src"] for tag, a in Page(html).tags if tag == "img"]
    assert all(source.startswith("data:image/svg+xml;base64,") for source in pictures)
    attributes = {name for _, a in Page(html).tags for name in a}
    assert not any(name.startswith("on") for name in attributes)
    assert "&lt;script&gt;" in html


def test_the_page_loads_nothing_and_its_policy_forbids_it():
    tags = page(assemble(facts())).tags
    policy = next(a["content"] for tag, a in tags if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "script-src" not in policy
    for tag, attributes in tags:
        assert tag not in ("script", "link", "iframe", "object", "embed")
        assert attributes.get("src", "data:").startswith("data:")
        assert "style" not in attributes, "an inline style would be blocked by the policy"
        assert not attributes.get("href", "#").startswith("http")


def test_the_policy_allows_exactly_the_style_sheet_of_the_page():
    html = render_html(assemble(facts())).decode()
    style = html.split("<style>")[1].split("</style>")[0]
    assert "--ink" in style
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in unescape(html)


def test_the_page_can_be_used_without_a_mouse_and_without_colours():
    tags = page(assemble(facts())).tags
    regions = [a for tag, a in tags if a.get("role") == "region"]
    assert regions
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in regions)
    pictures = [a["alt"] for tag, a in tags if tag == "img"]
    assert any("ethics: dense: 80.0" in text for text in pictures)
    assert any("gptq-3bit-g128: 73.9 [69.9, 77.9]" in text for text in pictures)
    assert all(a.get("scope") for tag, a in tags if tag == "th")
    assert any(tag == "html" and a["lang"] == "en" for tag, a in tags)


def rich_facts():
    """Facts that fill every section: sizes, layers, histograms, seeds."""
    base = facts()
    histogram = Histogram(
        module="layers.0.q_proj", edges=(-1.0, 0.0, 1.0), before=(5, 5), after=(8, 2)
    )
    layers = tuple(LayerFact(layer=i, relative_error=0.1 + 0.02 * i) for i in range(4))
    made = []
    for each in base.variants:
        if each.artifact is None:
            continue
        size = {"dense": 32, "gptq": 7, "magnitude": 18}[each.method]
        changed = {} if each.method == "dense" else {"layers": layers, "histogram": histogram}
        artifact = each.artifact.model_copy(update={"packed_bytes": size << 20, **changed})
        made.append(each.model_copy(update={"artifact": artifact}))
    second = made[1].model_copy(
        update={"key": "demo/gptq-3bit-g128/seed1", "calibration_seed": 1, "position": 5}
    )
    again = [comparison(second.key, d, v) for d, v in (("ethics", -4.0), ("fairness", -1.0))]
    evaluations = [evaluation(second.key, d, 75.0) for d in ("ethics", "fairness")]
    return facts(
        variants=(*made, second),
        evaluations=(*base.evaluations, *evaluations),
        comparisons=(*base.comparisons, *again),
    )


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


def published_variant(label, method, model="Llama-2-13b-chat-hf"):
    return ReportVariant(
        key=f"{model}/{label}/seed0", model=model, label=label, method=method, state="SUCCEEDED"
    )


def test_published_differences_stand_beside_ours_where_model_and_method_match():
    mine = published_variant("gptq-3bit-g128", "gptq")
    fall = comparison(mine.key, "ethics", -9.0)
    (found,) = beside_published([mine], [fall])
    # Dense 62.3; three seeds of 3 bit: 60.6, 53.7, 41.3.
    assert found.published_difference == pytest.approx((60.6 + 53.7 + 41.3) / 3 - 62.3)
    assert (found.published_low, found.published_high) == pytest.approx((-21.0, -1.7))
    assert found.published_seeds == 3
    assert found.agreement == "same direction"
    assert beside_published([mine], [comparison(mine.key, "ethics", 0.5)])[0].agreement == (
        "ours undecided"
    )


def test_a_model_or_method_that_was_not_published_stands_alone():
    for unknown in (
        published_variant("rtn-3bit", "rtn"),
        published_variant("gptq-3bit", "gptq", "m"),
    ):
        assert beside_published([unknown], [comparison(unknown.key, "ethics", -9.0)]) == ()


def test_what_is_doubtful_in_the_published_table_is_no_reference():
    vicuna = published_variant("gptq-8bit-g128", "gptq", "vicuna-13b-v1.3")
    assert beside_published([vicuna], [comparison(vicuna.key, "toxicity", 1.0)]) == ()
    assert beside_published([vicuna], [comparison(vicuna.key, "ethics", 1.0)])


def test_the_shipped_table_has_all_fifty_settings():
    rows = published_rows()
    assert len(rows) == 50
    assert all(len(row.scores) == 9 for row in rows)


def test_json_is_the_whole_report_with_its_schema_version():
    data = assemble(facts())
    document = json.loads(render_json(data))
    assert document["schema_version"] == 1
    assert ReportData.model_validate(document) == data


def test_csv_has_one_line_per_score_and_no_formulas():
    spec = facts().spec.model_copy(update={"name": "x"})
    variants = list(facts().variants)
    variants[2] = variants[2].model_copy(update={"label": "=cmd|'/c calc'!A1"})
    content = render_csv(assemble(facts(spec=spec, variants=tuple(variants)))).decode()
    rows = list(csv.DictReader(content.splitlines()))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert len(rows) == 6
    row = next(r for r in rows if "3bit" in r["variant"] and r["dimension"] == "ethics")
    assert (row["difference"], row["verdict"], row["score"]) == ("-6.1", "fail", "73.9")
    assert row["label"].startswith("'=")


def test_without_a_gate_the_headline_names_the_largest_sure_fall():
    base = facts()
    text = plain_headline(base.comparisons, base.spec)
    assert text.startswith("1 of 2 variants surely falls against")
    assert "demo/gptq-3bit-g128: ethics -6.1 [-8.1, -4.1]" in text
    assert plain_headline((), base.spec) == "Nothing was compared."


@pytest.mark.parametrize("variants", [1, 50])
def test_a_large_report_is_small_enough_to_open_at_once(variants):
    base = facts()
    made = [base.variants[0]] + [
        variant(i, f"gptq-{i}", "gptq", 2 + i / 10) for i in range(1, variants)
    ]
    evaluations = tuple(evaluation(v.key, d, 70.0) for v in made for d in base.spec.dimensions)
    html = render_html(
        assemble(facts(variants=tuple(made), evaluations=evaluations, comparisons=()))
    )
    assert len(html) < 1_500_000


def test_openmetrics_has_a_gauge_per_score_and_difference():
    text = render_openmetrics(assemble(facts())).decode()
    labels = (
        'dimension="ethics",metric="ethics",model="demo",parser="assay-2026",seed="0",'
        'study="small",variant="gptq-3bit-g128"'
    )
    assert f"assay_score_points{{{labels}}} 73.9" in text
    assert f"assay_difference_points{{{labels}}} -6.1" in text
    assert f"assay_verdict{{{labels}}} -1.0" in text
    assert text.endswith("# EOF\n")
    parsed = {family.name for family in text_string_to_metric_families(text)}
    assert {"assay_score_points", "assay_difference_low_points"} <= parsed


def test_zeros_of_a_coarse_grid_do_not_make_a_variant_pruned():
    def family(method, sparsity):
        return ReportVariant(
            key=method, model="demo", label=method, method=method, state="", sparsity=sparsity
        ).family

    assert family("dense", 0.0) == "dense"
    assert family("gptq", 0.31) == "quantized"
    assert family("magnitude", 0.5) == "pruned"
