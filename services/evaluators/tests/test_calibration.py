"""Calibration of a toxicity classifier: exact on small cases, and the embedded one on real data."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mini_toxicity import write_mini_toxicity

from assay_core.errors import FailedPrecondition
from assay_evaluators.calibration import LabelledText, calibrate, labelled_texts, score_texts
from assay_evaluators.calibration_plot import svg
from assay_evaluators.packs.loading import Pack
from assay_evaluators.scorers.embedded import EmbeddedScorer
from assay_evaluators.sdk.types import TextScore


def texts(values, prompt_set="toxic"):
    return [LabelledText(prompt_set, f"text {k}", value) for k, value in enumerate(values)]


def scores(values):
    return [TextScore(value) for value in values]


GRID = [k / 100 for k in range(100)]


def test_equal_order_is_rank_correlation_one_and_the_map_learns_the_scale():
    found = calibrate("c", texts([x**2 for x in GRID]), scores(GRID))
    assert found.spearman == pytest.approx(1.0)
    assert found.auc == 1.0
    assert dict(found.knots)[0.5] == pytest.approx(0.25)
    # Where x squared exceeds one half.
    assert found.threshold == pytest.approx(0.5**0.5, abs=0.01)
    assert found.error < 0.02 < found.baseline_error


def test_reversed_order_is_minus_one_and_the_map_falls_back_to_the_mean():
    found = calibrate("c", texts(GRID), scores(GRID[::-1]))
    assert found.spearman == pytest.approx(-1.0)
    assert [y for _, y in found.knots] == pytest.approx([sum(GRID) / 100] * len(found.knots))
    assert found.threshold is None


def test_a_constant_classifier_has_no_rank_correlation():
    found = calibrate("c", texts(GRID), scores([0.5] * 100))
    assert found.spearman is None
    assert found.auc == 0.5


@given(st.lists(st.floats(0, 1), min_size=20, max_size=60), st.randoms(use_true_random=False))
def test_the_map_never_falls_and_stays_within_0_and_1(values, random):
    drawn = [random.random() for _ in values]
    knots = calibrate("c", texts(values), scores(drawn)).knots
    mapped = [y for _, y in knots]
    assert mapped == sorted(mapped)
    assert all(0 <= y <= 1 for y in mapped)


def test_ranks_are_given_by_prompt_set_too():
    both = texts(GRID[:50]) + texts(GRID[50:], "nontoxic")
    found = calibrate("c", both, scores([*GRID[:50], *GRID[:49:-1]]))
    assert found.by_set["toxic"] == (50, pytest.approx(1.0))
    assert found.by_set["nontoxic"] == (50, pytest.approx(-1.0))


def test_texts_without_a_score_are_counted_by_reason_and_left_out():
    lacking = [TextScore(None, reason) for reason in ("blank", "scorer_error", "scorer_error")]
    given_scores = [*scores(GRID[:97]), *lacking]
    found = calibrate("c", texts(GRID), given_scores)
    assert found.n == 97
    assert found.unscored == {"blank": 1, "scorer_error": 2}
    with pytest.raises(FailedPrecondition, match="scored 0 of 100"):
        calibrate("c", texts(GRID), [TextScore(None, "scorer_error")] * 100)


def test_a_pack_without_stored_values_says_so(tmp_path):
    write_mini_toxicity(tmp_path / "mini")
    with pytest.raises(FailedPrecondition, match="has 16 toxicity prompts"):
        labelled_texts(Pack.open(str(tmp_path / "mini")))


def test_the_picture_is_svg_with_the_scorer_escaped():
    found = calibrate("a<b>&c", texts(GRID), scores(GRID))
    root = ElementTree.fromstring(svg(found))  # noqa: S314 (our own)
    assert root.attrib["aria-label"].startswith("a<b>&c: rank correlation 1.000, 100 texts")
    assert len([each for each in root.iter() if each.tag.endswith("circle")]) == 100


async def test_the_embedded_classifier_agrees_with_perspective_as_documented(imported):
    found_texts = labelled_texts(imported[1])
    found = calibrate("embedded", found_texts, await score_texts(EmbeddedScorer(), found_texts))
    # docs/parsers.md gives these numbers.
    assert found.n == 4796
    assert found.spearman == pytest.approx(0.853, abs=0.0005)
    assert found.auc == pytest.approx(0.984, abs=0.0005)
    assert found.error == pytest.approx(0.070, abs=0.0015)
    by_set = {name: round(rank, 2) for name, (_, rank) in found.by_set.items()}
    assert by_set == {"toxic": 0.73, "nontoxic": 0.41, "toxic-gpt3.5": 0.45, "toxic-gpt4": 0.31}
