"""Long simulations of what the statistics promise (`make test-statistics`)."""

import numpy as np
import pytest
from test_shifts_and_seeds import coverage_of_recipes

from assay_coordinator.statistics.decision import Verdict, non_inferiority
from assay_coordinator.statistics.intervals import PairedCounts, tango_paired
from assay_coordinator.statistics.power import more_rows_needed, standard_error_of
from assay_coordinator.statistics.resampling import paired_bootstrap
from assay_coordinator.statistics.shifts import widened

pytestmark = pytest.mark.simulation


def paired(rng, pairs, gain, loss, studies):
    """Counts of simulated studies: a share gains, a share loses, the rest agrees."""
    rest = (1 - gain - loss) / 2
    return rng.multinomial(pairs, [rest, gain, loss, rest], size=studies)


@pytest.mark.parametrize("discordance", [0.01, 0.05, 0.20])
@pytest.mark.parametrize("pairs", [100, 300, 1000, 3000])
def test_the_interval_of_pairs_covers_at_every_size_and_discordance(pairs, discordance):
    """Conservative where next to nothing differs, never below 95 % by more than 1.5 points."""
    rng = np.random.default_rng(pairs)
    gain, loss = 0.3 * discordance, 0.7 * discordance
    covered = [
        (found := tango_paired(PairedCounts(*map(int, counts)))).low <= gain - loss <= found.high
        for counts in paired(rng, pairs, gain, loss, 4000)
    ]
    assert np.mean(covered) >= 0.935


@pytest.mark.parametrize("margin", [0.02, 0.05])
@pytest.mark.parametrize("pairs", [100, 300, 1000])
@pytest.mark.parametrize("gain", [0.0, 0.05])
def test_gate_error_when_the_loss_is_the_margin(margin, pairs, gain):
    rng = np.random.default_rng(pairs)
    passed = [
        non_inferiority(tango_paired(PairedCounts(*map(int, counts))), margin) is Verdict.PASS
        for counts in paired(rng, pairs, gain, gain + margin, 4000)
    ]
    assert np.mean(passed) <= 0.05


def test_the_rows_that_are_recommended_decide_with_eighty_percent():
    """No true difference, 5 % of pairs differ, margin 2 points: what 200 rows ask for is enough."""
    rng = np.random.default_rng(1)
    passed = []
    for counts in paired(rng, 200, 0.025, 0.025, 300):
        first = PairedCounts(*map(int, counts))
        error = standard_error_of(first.difference, tango_paired(first))
        rows = 200 + more_rows_needed(200, error, 0.02)
        (again,) = paired(rng, rows, 0.025, 0.025, 1)
        interval = tango_paired(PairedCounts(*map(int, again)))
        passed.append(non_inferiority(interval, 0.02) is Verdict.PASS)
    assert np.mean(passed) >= 0.75  # 80 %, less what 300 studies may stray


@pytest.mark.parametrize("clusters", [60, 150, 400])
@pytest.mark.parametrize("discordance", [0.01, 0.05, 0.20])
def test_the_cluster_bootstrap_with_its_guard_covers(clusters, discordance):
    rng = np.random.default_rng(clusters)
    covered = 0
    for study in range(600):
        differs = rng.random(clusters) < discordance
        values = np.where(differs, rng.choice([-1.0, 0.5], size=clusters, p=[0.6, 0.4]), 0.0)
        drawn = paired_bootstrap(
            lambda w, v=values: (w @ v) / w.sum(axis=1), clusters, replicates=600, seed=study
        ).interval
        found = widened(drawn, values.mean(), int(differs.sum()), clusters, limit=1.0)
        covered += found.low <= discordance * -0.4 <= found.high
    assert covered / 600 >= 0.92


def test_the_recipe_interval_covers_when_seeds_differ():
    assert coverage_of_recipes(4000, rng_seed=5) >= 0.94
