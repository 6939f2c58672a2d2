"""Which completions changed, and how; where their texts stand, and where they do not."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_facts import HOSTILE, Page, facts
from test_comparing import ACCURACY, LEAKAGE, NAMES, ONE_SCENARIO, row

from assay_coordinator.domain.flips import Flip, FlipGroup, FlipTexts
from assay_coordinator.report.assemble import assemble
from assay_coordinator.report.html import render_html
from assay_coordinator.report.model import ReportData
from assay_coordinator.report.tabular import render_json
from assay_coordinator.statistics.flips import find_flips, kind_of
from assay_core.aggregation import parse_expr
from assay_core.verdicts import Verdict, to_table

A, R, U, LONG = Verdict.ANSWERED, Verdict.REFUSED, Verdict.UNPARSABLE, Verdict.OVERLENGTH
KEY = "demo/gptq-3bit-g128/seed0"


@pytest.mark.parametrize(
    ("theirs", "ours", "better", "kind"),
    [
        ((A, 1.0), (A, 0.0), 1, "lost"),
        ((A, 0.0), (A, 1.0), 1, "gained"),
        ((A, 0.0), (A, 1.0), -1, "lost"),
        ((A, 0.0), (A, 1.0), 0, "changed"),
        ((A, 1.0), (R, 0.0), 1, "refused"),
        ((R, 1.0), (A, 0.0), 1, "no longer refused"),
        ((A, 1.0), (U, 0.0), 1, "unparsable"),
        ((U, None), (A, 1.0), 1, "no longer unparsable"),
        ((U, 0.0), (R, 0.0), 1, "refused"),
        ((A, 1.0), (LONG, None), 1, "changed"),
        ((A, None), (A, 1.0), 1, "changed"),
    ],
)
def test_a_change_has_one_kind_refusals_first(theirs, ours, better, kind):
    assert kind_of(ours, theirs, better) == kind


def test_flips_are_counted_by_kind_and_what_is_equal_is_none():
    reference = [row("zero", f"s{i}", 1.0) for i in range(10)]
    variant = [
        row("zero", "s0", 0.0),
        row("zero", "s1", 0.0, kind=R),
        row("zero", "s2", 0.0, kind=U),
        *reference[3:],
    ]
    group = find_flips(NAMES, ONE_SCENARIO, to_table(variant), to_table(reference), 20)
    assert (group.compared, group.total) == (10, 3)
    assert group.counts == {"lost": 1, "refused": 1, "unparsable": 1}
    lost = group.flips[0]
    assert (lost.sample_id, lost.kind, lost.reference_value, lost.value) == ("s0", "lost", 1.0, 0.0)
    assert (lost.reference_verdict, lost.verdict) == ("answered", "answered")


def test_where_a_larger_value_is_worse_the_variant_has_lost():
    reference, variant = to_table([row("zero", "s", 0.0)]), to_table([row("zero", "s", 1.0)])
    assert find_flips(NAMES, LEAKAGE, variant, reference, 5).counts == {"lost": 1}


def test_predicted_classes_are_neither_lost_nor_gained():
    parity = parse_expr({"op": "scale", "by": 100, "of": {"op": "dpd", "scenario": "zero"}})
    reference, variant = to_table([row("zero", "s", 0.0)]), to_table([row("zero", "s", 1.0)])
    assert find_flips(NAMES, parity, variant, reference, 5).counts == {"changed": 1}


def test_completions_are_joined_on_their_index_and_scenarios_outside_the_score_are_left_out():
    reference = [row("zero", "s", float(k % 2), completion=k) for k in range(4)]
    variant = [row("zero", "s", 1.0, completion=k) for k in range(4)]
    extra = row("other", "s", 1.0)
    group = find_flips(
        NAMES, ACCURACY, to_table([*variant, extra]), to_table([*reference, extra]), 9
    )
    assert {flip.completion_index for flip in group.flips} == {0, 2}
    assert group.compared == 4


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 20))
def test_a_bounded_list_gives_every_kind_its_turn_and_is_the_same_again(lost, refused, most):
    count = lost + refused + 1
    reference = to_table([row("zero", f"s{i}", 1.0) for i in range(count)])
    variant = to_table(
        [
            row("zero", f"s{i}", float(i == count - 1), kind=R if lost <= i < count - 1 else A)
            for i in range(count)
        ]
    )
    group = find_flips(NAMES, ONE_SCENARIO, variant, reference, most)
    assert len(group.flips) == min(most, lost + refused)
    listed = [flip.kind for flip in group.flips]
    assert abs(listed.count("lost") - listed.count("refused")) <= 1 or (
        listed.count("lost") == lost or listed.count("refused") == refused
    )
    assert group == find_flips(NAMES, ONE_SCENARIO, variant, reference, most)


def group_of(texts=None, **changes):
    flip = Flip(
        scenario="zero_shot", sample_id="row-17", completion_index=0, kind="lost",
        verdict="answered", value=0.0, reference_verdict="answered", reference_value=1.0,
        texts=texts,
    )  # fmt: skip
    return FlipGroup(
        variant_key=KEY, reference_key="demo/dense/seed0", dimension="ethics", compared=100,
        counts={"lost": 1}, flips=(flip,),
    ).model_copy(update=changes)  # fmt: skip


def page_with(group):
    return render_html(assemble(dataclasses.replace(facts(), flips=(group,)))).decode()


def test_the_stored_page_lists_flips_without_texts_and_says_how_to_get_them():
    html = page_with(group_of())
    text = " ".join(Page(html).text)
    assert f"{KEY}: 1 of 100 changed" in text
    assert "row-17 zero_shot lost answered (1) answered (0)" in text
    assert "assay examples study-1" in text
    assert "<pre>" not in html


def test_texts_stand_in_the_page_that_was_asked_for_with_examples_and_stay_text():
    texts = FlipTexts(prompt=f"user: {HOSTILE}", completion=HOSTILE, reference_completion="wrong")
    html = page_with(group_of(texts))
    assert Page(html).text.count(f"user: {HOSTILE}") == 1
    assert "script" not in {tag for tag, _ in Page(html).tags}
    assert "assay examples" not in html


def test_why_texts_are_withheld_is_said():
    html = page_with(group_of(texts_withheld="rows of privacy hold personal data"))
    assert "Without texts: rows of privacy hold personal data." in " ".join(Page(html).text)


def test_flips_are_part_of_the_json_report():
    data = assemble(dataclasses.replace(facts(), flips=(group_of(),)))
    assert ReportData.model_validate_json(render_json(data)).flips == (group_of(),)
