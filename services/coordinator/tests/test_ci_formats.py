"""JUnit and Markdown of a gate: what a CI system reads."""

from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from assay_coordinator.domain.comparison import GateCheck, GateResult, VariantGate
from assay_coordinator.report.ci import render_junit, render_markdown
from assay_coordinator.statistics.decision import Verdict

CHECKS = (
    GateCheck(name="ethics", verdict=Verdict.FAIL, detail="ethics -6.1: worse than 2"),
    GateCheck(name="privacy", verdict=Verdict.INCONCLUSIVE, detail="privacy: undecided"),
    GateCheck(name="ood", verdict=Verdict.PASS, detail="ood: incomplete", warning=True),
)
RESULT = GateResult(
    verdict=Verdict.FAIL,
    headline="Do not ship x: ethics -6.1.",
    variants=(
        VariantGate(
            variant_key="demo/x/seed0", verdict=Verdict.FAIL,
            reasons=(CHECKS[0].detail, CHECKS[1].detail), checks=CHECKS,
        ),
    ),
)  # fmt: skip


def parsed(junit):
    return ET.fromstring(junit)  # noqa: S314 - what we have just written


def test_junit_has_a_case_per_check_and_counts_what_did_not_pass():
    root = parsed(render_junit(RESULT, "study-1"))
    (suite,) = root
    assert suite.attrib["name"] == "demo/x/seed0"
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    ethics, privacy, ood = suite
    assert ethics.find("failure").get("message") == CHECKS[0].detail
    assert privacy.find("error").get("type") == "inconclusive"
    assert ood.find("failure") is None
    assert ood.findtext("system-out") == "ood: incomplete"


def test_markdown_says_headline_variants_and_reasons():
    text = render_markdown(RESULT, "study-1")
    assert text.startswith("## \N{CROSS MARK} Assay gate: fail\n\nDo not ship x: ethics -6.1.")
    assert "| `demo/x/seed0` | \N{CROSS MARK} fail | 1 of 3 passed |" in text
    assert "- warning: ood: incomplete" in text


@given(st.text())
def test_any_text_stays_text_in_both_formats(hostile):
    check = GateCheck(name=hostile, verdict=Verdict.FAIL, detail=hostile)
    variant = VariantGate(
        variant_key=hostile, verdict=Verdict.FAIL, reasons=(hostile,), checks=(check,)
    )
    result = GateResult(verdict=Verdict.FAIL, headline=hostile, variants=(variant,))
    assert len(parsed(render_junit(result, hostile))) == 1
    assert "<script" not in render_markdown(result, "<script>")
