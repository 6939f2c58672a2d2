"""Ours beside the published table."""

import pytest
from report_facts import comparison, facts, page

from assay_coordinator.report.assemble import assemble
from assay_coordinator.report.findings import findings_of
from assay_coordinator.report.model import ReportVariant
from assay_coordinator.report.published import beside_published, published_changes, published_rows
from assay_coordinator.statistics.decision import Verdict


def published_variant(label, method, model="Llama-2-13b-chat-hf"):
    return ReportVariant(
        key=f"{model}/{label}/seed0", model=model, label=label, method=method, state="SUCCEEDED"
    )


def beside(mine, dimension, difference, reference="dense"):
    """Ours beside the published ones, against a reference of the same model."""
    other = published_variant(reference, reference.split("-", 1)[0], mine.model)
    found = comparison(mine.key, dimension, difference, reference_key=other.key)
    return beside_published([other, mine], [found])


def test_published_differences_stand_beside_ours_where_model_and_method_match():
    mine = published_variant("gptq-3bit-g128", "gptq")
    (found,) = beside(mine, "ethics", -9.0)
    # Dense 62.3; three seeds of 3 bit: 60.6, 53.7, 41.3.
    assert found.published_difference == pytest.approx((60.6 + 53.7 + 41.3) / 3 - 62.3)
    assert (found.published_low, found.published_high) == pytest.approx((-21.0, -1.7))
    assert found.published_seeds == 3
    assert found.agreement == "same direction"
    assert beside(mine, "ethics", 0.5)[0].agreement == "ours undecided"


def test_a_difference_from_another_reference_than_dense_has_no_published_counterpart():
    mine = published_variant("gptq-3bit-g128", "gptq")
    assert beside(mine, "ethics", -9.0, reference="gptq-8bit-g128") == ()
    other = published_variant("dense", "dense", "another-model")
    found = comparison(mine.key, "ethics", -9.0, reference_key=other.key)
    assert beside_published([other, mine], [found]) == ()
    assert findings_of([other, mine], [found], "assay-2026") == ()


def test_a_model_or_method_that_was_not_published_stands_alone():
    for unknown in (
        published_variant("rtn-3bit", "rtn"),
        published_variant("gptq-3bit", "gptq", "m"),
    ):
        assert beside(unknown, "ethics", -9.0) == ()


def test_what_is_doubtful_in_the_published_table_is_no_reference():
    vicuna = published_variant("gptq-8bit-g128", "gptq", "vicuna-13b-v1.3")
    assert beside(vicuna, "toxicity", 1.0) == ()
    assert beside(vicuna, "ethics", 1.0)


def test_the_shipped_table_has_all_fifty_settings():
    rows = published_rows()
    assert len(rows) == 50
    assert all(len(row.scores) == 9 for row in rows)


def passed(key, dimension, difference):
    return comparison(
        key, dimension, difference, verdict=Verdict.PASS, p_value_holm=0.9,
        interval_low=difference - 1, interval_high=difference + 1,
    )  # fmt: skip


def outcomes(*found):
    variants = [
        published_variant("dense", "dense", "demo"),
        published_variant("gptq-8bit-g128", "gptq", "demo"),
        published_variant("gptq-3bit-g128", "gptq", "demo"),
        published_variant("magnitude-2:4", "magnitude", "demo"),
    ]
    return {
        finding.variant_key.split("/")[1]: finding
        for finding in findings_of(variants, found, "assay-2026")
    }


EIGHT, THREE, PRUNED = (
    f"demo/{label}/seed0" for label in ("gptq-8bit-g128", "gptq-3bit-g128", "magnitude-2:4")
)


def test_what_the_paper_finds_holds_where_intervals_decide_it():
    found = outcomes(
        passed(EIGHT, "ethics", 0.1),
        comparison(THREE, "ethics", -9.0),
        comparison(PRUNED, "ethics", -9.0),
    )
    assert {name: f.outcome for name, f in found.items()} == {
        "gptq-8bit-g128": "holds here",
        "gptq-3bit-g128": "holds here",
        "magnitude-2:4": "holds here",
    }
    assert found["gptq-3bit-g128"].fell == ("ethics",)
    assert found["gptq-8bit-g128"].claim == "stays close to dense"


def test_what_it_finds_and_is_not_so_here_is_said_plainly():
    found = outcomes(
        comparison(EIGHT, "ethics", -9.0),
        passed(THREE, "ethics", 0.0),
        passed(PRUNED, "ethics", 0.0),
    )
    assert {f.outcome for f in found.values()} == {"does not hold here"}


def test_a_fall_that_is_not_sure_decides_nothing_however_large_it_looks():
    wide = comparison(
        THREE, "utility", -4.8, verdict=Verdict.INCONCLUSIVE, p_value_holm=0.11,
        interval_low=-8.7, interval_high=-1.0,
    )  # fmt: skip
    found = outcomes(wide, passed(THREE, "ethics", 0.5))["gptq-3bit-g128"]
    assert found.outcome == "undecided here"
    assert (found.worst, found.worst_difference, found.fell) == ("utility", -4.8, ())
    assert (found.change, found.within_margin, found.dimensions) == (0.5, 1, 2)


def test_published_changes_are_means_over_trust_dimensions_by_setting():
    pruned = published_changes("magnitude", "2:4")
    assert sorted(round(value, 1) for value in pruned) == [-14.5, -1.2, 3.0]
    # Five settings of GPTQ at 3 bits; Vicuna's doubtful toxicity is left out of its mean.
    three = published_changes("gptq", "3")
    assert len(three) == 5
    assert min(three) == pytest.approx(-15.7, abs=0.05)


def test_the_page_says_how_many_findings_hold():
    text = " ".join(page(assemble(facts())).text)
    assert "1 of 2 holds here, 0 do not, 1 is undecided" in text
