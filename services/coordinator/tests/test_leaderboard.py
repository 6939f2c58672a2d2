"""What may stand in one ranking: the same rows, and all of them."""

from report_facts import evaluation, facts

from assay_coordinator.leaderboard import Evaluated, rank


def test_a_score_of_a_run_that_stopped_early_is_on_rows_of_its_own_and_is_not_ranked():
    base = facts()
    quick, whole = "demo/gptq-3bit-g128/seed0", "demo/magnitude-2:4/seed0"
    stopped = evaluation(quick, "ethics", 99.0).model_copy(update={"stopped_early": True})
    study = Evaluated(
        "study-1", base.spec, base.variants, [stopped, evaluation(whole, "ethics", 70.0)]
    )
    assert [entry.label for entry in rank([study])] == ["magnitude-2:4"]
