"""Early stopping: what the sequence promises at every look, by simulation."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_comparing import ACCURACY, LEAKAGE, ONE_SCENARIO, binary, row

from assay_coordinator.statistics.pairing import pair
from assay_coordinator.statistics.request import Draw
from assay_coordinator.statistics.sequential import (
    betting_interval,
    linear_weights,
    sequential_interval,
)
from assay_coordinator.statistics.tables import frame_of
from assay_core.aggregation import parse_expr
from assay_core.verdicts import to_table

ROWS = 200
LOOKS = (50, 100, ROWS)


def pairs_of(variant, reference):
    return pair(frame_of(to_table(variant)), frame_of(to_table(reference)))


def test_a_population_seen_whole_is_known_to_the_grid():
    values = np.array([1.0, 0.0, 1.0, 1.0] * 25)
    low, high = betting_interval(values, 100)
    assert low <= 0.75 <= high
    assert high - low <= 0.0025


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(60, 200))
@settings(max_examples=40)
def test_the_interval_never_excludes_what_is_still_possible_by_chance_alone(values, population):
    low, high = betting_interval(np.array(values), population)
    assert 0 <= low <= high <= 1


def errors(studies, margin, loss, level=0.95, seed=1):
    """Shares of simulated studies that stop with a pass, with a fail; of 200 paired rows."""
    rng = np.random.default_rng(seed)
    passed = failed = rows = 0
    for _ in range(studies):
        changed = np.zeros(ROWS)
        lost = round(ROWS * (loss + 0.05))
        changed[:lost] = -1.0
        changed[lost : lost + 10] = 1.0  # five in a hundred gain, so that rows differ both ways
        rng.shuffle(changed)
        for look in LOOKS:
            low, high = betting_interval((changed[:look] + 1) / 2, ROWS, level)
            low, high = 2 * low - 1, 2 * high - 1
            passes, fails = -low < margin - 1e-9, -high > margin + 1e-9
            if passes or fails:
                break
        passed += passes
        failed += fails
        rows += look
    return passed / studies, failed / studies, rows / studies


def test_a_loss_equal_to_the_margin_seldom_stops_with_a_pass_or_a_fail():
    passed, failed, _ = errors(100, margin=0.10, loss=0.10)
    # Seen whole, the population's loss is its true loss, which is not below the margin.
    assert passed <= 0.05
    assert failed <= 0.05


def test_a_large_loss_stops_early_and_fails():
    passed, failed, rows = errors(60, margin=0.05, loss=0.40)
    assert (passed, failed) == (0.0, 1.0)
    assert rows < 100


@pytest.mark.simulation
def test_error_over_two_thousand_studies_is_at_most_nominal():
    passed, failed, _ = errors(2000, margin=0.10, loss=0.10, seed=7)
    sys.stdout.write(f"early stopping: passes {passed:.1%}, fails {failed:.1%} at the margin\n")
    assert passed <= 0.05
    assert failed <= 0.05


@pytest.mark.simulation
def test_the_sequence_holds_the_mean_at_every_look_at_once():
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(1000):
        population = rng.permutation(np.repeat([0.0, 1.0], [60, 140]))
        missed += not all(
            low <= 0.7 <= high
            for look in LOOKS
            for low, high in [betting_interval(population[:look], ROWS)]
        )
    sys.stdout.write(f"confidence sequence: misses at some look {missed / 1000:.1%}\n")
    assert missed / 1000 <= 0.05


def test_weights_are_those_of_the_formula_and_none_where_it_is_not_linear():
    assert linear_weights(ACCURACY) == pytest.approx({"zero": 75, "few": 25})
    assert linear_weights(LEAKAGE) == {"zero": -100}
    fairness = {"op": "scale", "by": 100, "of": {"op": "dpd", "scenario": "zero"}}
    assert linear_weights(parse_expr(fairness)) is None
    assert linear_weights(parse_expr({"op": "exp", "of": {"op": "mean", "scenario": "z"}})) is None


def test_the_difference_of_scores_is_inside_and_the_sign_is_right():
    reference = binary("zero", [1] * 200)
    variant = binary("zero", [0] * 60 + [1] * 140)
    order = {"zero": [f"s{i:04d}" for i in np.random.default_rng(0).permutation(200)]}
    found = sequential_interval(
        ONE_SCENARIO, pairs_of(variant, reference), Draw(order, {"zero": 1000})
    )
    assert -100 < found.low < found.high < 0
    assert found.high - found.low < 25


def test_missing_values_and_shared_clusters_are_not_for_this_method():
    order = {"zero": [f"s{i:04d}" for i in range(4)]}
    reference = binary("zero", [1, 1, 0, 1])
    null = [*reference[:3], row("zero", "s0003", None)]
    shared = [row("zero", f"s{i:04d}", 1.0, cluster=f"c{i // 2}") for i in range(4)]
    for odd in (null, shared):
        pairs = pairs_of(odd, odd)
        assert sequential_interval(ONE_SCENARIO, pairs, Draw(order, {"zero": 10})) is None
