"""More rows for a study that could not decide: which looks, at what level, and what is reused."""

import math
import random
from statistics import NormalDist

import pytest
from conftest import FINAL
from fake_peers import Scenario
from hypothesis import given
from hypothesis import strategies as st
from small_studies import degrade, generated_twice, model, spec  # noqa: F401

from assay_coordinator.advice import advised
from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.domain.extension import (
    MOST_DOUBLINGS,
    doublings_for,
    doublings_needed,
    level_after,
    undecided,
)
from assay_coordinator.domain.policy import GatePolicy
from assay_coordinator.domain.progress import Counts, EvaluationStatus, Progress, ScoreFacts
from assay_coordinator.domain.study import StudySpec
from assay_coordinator.statistics.decision import Verdict
from assay_core.errors import FailedPrecondition, InvalidArgument
from assay_core.pb import common_pb2, comparison_pb2
from assay_core.pb import coordination_pb2 as pb

S = common_pb2.State


def comparison(**changes):
    values = {
        "variant_key": "m/x/seed0", "reference_key": "m/dense/seed0", "dimension": "ethics",
        "metric": "ethics", "parser_version": "assay-2026", "n_pairs": 100,
        "verdict": Verdict.INCONCLUSIVE, "rows_needed": 100,
    }  # fmt: skip
    return Comparison(**(values | changes))


def test_the_errors_of_all_looks_together_are_the_five_percent_that_a_gate_promises():
    one_sided = [(1 - level_after(k)) / 2 for k in range(MOST_DOUBLINGS + 1)]
    assert one_sided[:3] == pytest.approx([0.025, 0.0125, 0.00625])
    assert sum(one_sided) < 0.05
    assert level_after(0) == 0.95


def test_an_undecided_variant_at_the_margin_passes_at_most_five_percent_over_every_look():
    """The worst strategy: look at every doubling, and stop at the first pass."""
    rng = random.Random(7)  # noqa: S311 - a simulation
    quantiles = [NormalDist().inv_cdf(0.5 + level_after(k) / 2) for k in range(MOST_DOUBLINGS + 1)]
    studies, passed, naive = 4000, 0, 0
    for _ in range(studies):
        total, rows, hit, naive_hit = 0.0, 0, False, False
        for k in range(MOST_DOUBLINGS + 1):
            fresh = (1 << k) - rows
            total += rng.gauss(0, math.sqrt(fresh))  # a loss equal to the margin, from there
            rows += fresh
            z = total / math.sqrt(rows)
            hit |= z > quantiles[k]
            naive_hit |= z > quantiles[0]
        passed += hit
        naive += naive_hit
    assert passed / studies <= 0.05
    assert naive / studies > 0.07  # what looking again at 95 % would do


def test_rows_double_until_the_stricter_interval_can_decide():
    # Twice the rows at 95 %: at 97.5 % that is 2.4 times, so two doublings.
    assert doublings_needed([comparison(rows_needed=100)], done=0) == 2
    assert doublings_needed([comparison(rows_needed=40)], done=0) == 1
    # The one that needs most decides.
    assert doublings_needed([comparison(rows_needed=40), comparison(rows_needed=500)], 0) == 4
    assert doublings_needed([comparison(rows_needed=100_000)], done=0) is None
    assert doublings_needed([], done=0) is None
    assert doublings_needed([comparison(rows_needed=5)], done=3) == 4


@given(st.integers(1, 10_000), st.integers(1, 10_000_000), st.integers(0, MOST_DOUBLINGS))
def test_a_wish_for_rows_is_the_first_look_that_has_them(first, rows, done):
    doublings = doublings_for(first, rows, done)
    assert doublings > done
    assert first << doublings >= rows
    if doublings > done + 1:
        assert first << (doublings - 1) < rows


def test_only_whole_dimensions_of_the_main_parser_that_rows_can_decide_count():
    others = [
        comparison(scenario="zero_shot"),
        comparison(parser_version="ct-2024-02"),
        comparison(verdict=Verdict.PASS),
        comparison(rows_needed=None),
    ]
    wanted = comparison()
    assert undecided([*others, wanted], "assay-2026") == [wanted]


def evaluation(planned, expected, *, reused=0):
    counts = Counts(n=planned, n_expected=expected)
    score = ScoreFacts(metric="ethics", parser_version="assay-2026", counts=counts)
    return EvaluationStatus(
        variant_key="m/x/seed0",
        dimension="ethics",
        scores=(score,),
        planned_rows={"zero_shot": planned},
        progress=Progress(completed=100, total=100),
        completions_reused=reused,
    )


def headline(evaluations, **changes):
    document = StudySpec.model_validate(
        {"name": "s", "models": ["m"], "recipes": ["dense"], "dimensions": ["ethics"],
         "pack": "demo", "row_limit": 50} | changes
    )  # fmt: skip
    return advised(
        "Undecided.", "study-1", document, None,
        comparisons=[comparison(rows_needed=100)], evaluations=evaluations, seconds=600,
    )  # fmt: skip


def test_a_headline_ends_with_the_command_that_decides_and_what_it_costs():
    # 50 completions took ten minutes; three times 100 more take an hour.
    assert headline([evaluation(50, 500, reused=50)]) == (
        "Undecided. More rows would decide (50 -> 200 per scenario, ~60 min): "
        "`assay study extend study-1`."
    )


def test_nothing_is_advised_where_no_row_was_left_out():
    assert headline([evaluation(50, 50)]) == "Undecided."
    assert headline([evaluation(30, 500)]) == "Undecided."  # the pack has no more
    assert headline([evaluation(50, 500)], row_limit=0) == "Undecided."


class TestStudies:
    pytestmark = pytest.mark.asyncio(loop_scope="module")

    @pytest.fixture(autouse=True)
    def rows(self, world):
        for evaluator in world.evaluators.values():
            evaluator.scenarios = (Scenario("zero_shot", 200), Scenario("few_shot", 200))

    async def limited(self, coordinator, **changes):
        gate = GatePolicy(require_utility=False)
        study = await coordinator.create(spec(row_limit=50, gate=gate, **changes))
        return await coordinator.finished(study.meta.id)

    async def extend(self, coordinator, study_id, rows=0):
        request = pb.ExtendStudyRequest(id=study_id, rows=rows)
        return (await coordinator.call("ExtendStudy", request)).study

    async def test_an_extended_study_generates_only_its_new_rows_and_looks_more_strictly(
        self,
        world,
        coordinator,
        model,  # noqa: F811
    ):
        degrade(world, accuracy=0.84)
        first = await self.limited(coordinator)
        command = f"`assay study extend {first.meta.id}`"
        report = await coordinator.call("GetReport", pb.GetReportRequest(study_id=first.meta.id))
        assert command in report.headline
        assert first.gate_result.headline == report.headline
        gate = await coordinator.call(
            "EvaluateGate", pb.EvaluateGateRequest(study_id=first.meta.id)
        )
        assert command in gate.result.headline

        begun = sum(len(evaluator.generated) for evaluator in world.evaluators.values())
        second = await self.extend(coordinator, first.meta.id, rows=90)
        assert second.meta.id != first.meta.id
        assert (second.extension.study_id, second.extension.first_rows) == (first.meta.id, 50)
        assert second.extension.doublings == 1
        assert second.extension.confidence_level == 0.975
        assert second.spec.row_limit == 100
        again = await self.extend(coordinator, first.meta.id, rows=90)
        assert again.meta.id == second.meta.id

        second = await coordinator.finished(second.meta.id)
        assert second.meta.state == S.STATE_SUCCEEDED
        made = sum(len(evaluator.generated) for evaluator in world.evaluators.values()) - begun
        assert made == 3 * 2 * 2 * 50  # variants x dimensions x scenarios x new rows
        assert not generated_twice(world)
        request = pb.ListComparisonsRequest(study_id=second.meta.id)
        found = (await coordinator.call("ListComparisons", request)).comparisons
        assert {c.confidence_level for c in found} == {0.975}
        whole = [c for c in found if not c.scenario]
        assert all("rows were added after a look" in " ".join(c.notes) for c in whole)
        assert "Rows were added after a look" in second.gate_result.headline

        third = await self.extend(coordinator, second.meta.id, rows=150)
        assert (third.extension.study_id, third.extension.doublings) == (second.meta.id, 2)
        third = await coordinator.finished(third.meta.id)
        assert third.extension.confidence_level == 0.9875
        # Every row is in it: nothing is left to add.
        with pytest.raises(FailedPrecondition, match="every row"):
            await self.extend(coordinator, third.meta.id)
        assert "assay study extend" not in third.gate_result.headline

    async def test_without_a_number_it_takes_the_rows_that_decide_what_is_undecided(
        self,
        world,
        coordinator,
        model,  # noqa: F811
    ):
        first = await self.limited(coordinator)
        request = pb.ListComparisonsRequest(study_id=first.meta.id)
        request.options.filter = 'scenario = ""'
        found = (await coordinator.call("ListComparisons", request)).comparisons
        assert {c.verdict for c in found} == {comparison_pb2.VERDICT_INCONCLUSIVE}
        second = await self.extend(coordinator, first.meta.id)
        assert second.spec.row_limit in (100, 200)
        await coordinator.finished(second.meta.id)

    async def test_what_cannot_be_extended_says_why(self, world, coordinator, model):  # noqa: F811
        whole = await coordinator.create(spec(dimensions=("ethics",)))
        with pytest.raises(FailedPrecondition, match="watch it until it has ended"):
            await self.extend(coordinator, whole.meta.id)
        await coordinator.until(whole.meta.id, lambda study: study.meta.state in FINAL)
        with pytest.raises(FailedPrecondition, match="every row"):
            await self.extend(coordinator, whole.meta.id)
        first = await self.limited(coordinator, dimensions=("ethics",))
        with pytest.raises(InvalidArgument) as caught:
            await self.extend(coordinator, first.meta.id, rows=50)
        assert caught.value.violations[0].field == "rows"
