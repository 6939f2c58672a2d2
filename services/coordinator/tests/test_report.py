"""The page of a report: what stands where, that hostile text stays text, that it needs no file."""

import base64
import hashlib
from html import unescape

import pytest
from report_facts import HOSTILE, Page, evaluation, facts, page, variant

from assay_coordinator.domain.canary import CanaryFacts, Measure, SideFacts
from assay_coordinator.domain.comparison import GateResult, VariantGate
from assay_coordinator.domain.study_file import load_study
from assay_coordinator.report.assemble import assemble, plain_headline
from assay_coordinator.report.html import render_html
from assay_coordinator.report.model import ReportVariant
from assay_coordinator.statistics.decision import Verdict
from assay_core.errors import InvalidArgument, to_document


def test_the_first_line_is_the_answer_in_a_sentence():
    assert page(assemble(facts())).text[1] == "Do not ship demo/gptq-3bit-g128."


def test_sections_stand_in_their_order():
    ids = [a["id"] for tag, a in page(assemble(facts())).tags if tag == "section"]
    assert ids == ["scores", "plots", "details", "answers", "published", "not-run", "provenance"]


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


def test_without_a_gate_the_headline_names_the_largest_sure_fall():
    base = facts()
    text = plain_headline(base.comparisons, base.spec)
    assert text.startswith("1 of 2 variants surely falls against")
    assert "demo/gptq-3bit-g128: ethics -6.1 [-8.1, -4.1]" in text
    assert plain_headline((), base.spec) == "Nothing was compared."


def test_a_fall_whose_p_value_is_below_every_number_is_a_sure_fall():
    base = facts()
    certain = tuple(c.model_copy(update={"p_value_holm": 0.0}) for c in base.comparisons)
    assert plain_headline(certain, base.spec).startswith("1 of 2 variants surely falls against")


def test_an_interval_says_its_level():
    base = facts()
    assert '<th scope="col">95 % interval</th>' in render_html(assemble(base)).decode()
    extended = tuple(c.model_copy(update={"confidence_level": 0.975}) for c in base.comparisons)
    html = render_html(assemble(facts(comparisons=extended))).decode()
    assert '<th scope="col">97.5 % interval</th>' in html
    assert "with its 97.5 % interval" in html


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


def test_zeros_of_a_coarse_grid_do_not_make_a_variant_pruned():
    def family(method, sparsity):
        return ReportVariant(
            key=method, model="demo", label=method, method=method, state="", sparsity=sparsity
        ).family

    assert family("dense", 0.0) == "dense"
    assert family("gptq", 0.31) == "quantized"
    assert family("magnitude", 0.5) == "pruned"


def test_a_difference_that_rounds_to_nothing_has_no_sign():
    base = facts()
    tiny = (base.comparisons[0].model_copy(update={"difference": -0.04}),)
    text = " ".join(page(assemble(facts(comparisons=tiny))).text)
    assert "0.0 [" in text
    assert "\N{MINUS SIGN}0.0" not in text


def canary_facts():
    side = SideFacts(
        key="demo/dense/seed0", prompts=24, answered=20, refused=3, unparsable=1, overlength=0,
        mean_completion_tokens=21.5, mean_toxicity=None, latency_p50=0.25, latency_p95=1.5,
        latency_p99=2.0, wall_seconds=12.0, completions_per_second=2.0, tokens_per_second=43.0,
        segments=2,
    )  # fmt: skip
    measure = Measure(
        name="refusal_shift", value=0.25, low=0.1, high=0.4, level=0.95, method="Tango", n_pairs=24,
        verdict=Verdict.FAIL, limit=0.05,
    )  # fmt: skip
    sides = {"reference": side, "variant": side.model_copy(update={"key": HOSTILE})}
    return CanaryFacts(**sides, measures=(measure,), load="4 requests in flight", notes=(HOSTILE,))


def test_a_canary_shows_both_sides_and_what_changed_and_hostile_keys_stay_text():
    shown = page(assemble(facts(canary=canary_facts())))
    ids = [a["id"] for tag, a in shown.tags if tag == "section"]
    assert ids[:2] == ["scores", "canary"]
    for text in ("250 ms", "1,500 ms", "43.0", "in 2 parts", "25.0 %", "[10.0, 40.0]", "5 %"):
        assert text in shown.text, text
    assert HOSTILE in shown.text
    assert not [tag for tag, _ in shown.tags if tag == "script"]
