"""Ours beside the published table."""

import pytest
from report_facts import comparison

from assay_coordinator.report.model import ReportVariant
from assay_coordinator.report.published import beside_published, published_rows


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
