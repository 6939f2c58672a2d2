"""Studies end to end: a real coordinator process, real sockets, small honest peers."""

import csv
import json
import re

import pytest
import small_studies
from fake_peers import Scenario
from small_studies import (
    STUDY,
    compressing,
    degrade,
    generated,
    generated_twice,
    loads,
    made,
    spec,
)

from assay_core.client import stream
from assay_core.errors import (
    AlreadyExists,
    InvalidArgument,
    NotFound,
)
from assay_core.pb import common_pb2, comparison_pb2
from assay_core.pb import coordination_pb2 as pb

S = common_pb2.State
model = small_studies.model  # the fixture
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_study_runs_to_comparisons_and_a_report(world, coordinator, model):
    degrade(world)
    study = await coordinator.create(spec())
    study = await coordinator.finished(study.meta.id)

    assert study.meta.state == S.STATE_SUCCEEDED
    assert [v.key for v in study.variants] == [
        f"{model}/dense/seed0",
        f"{model}/gptq-8bit-g128/seed0",
        f"{model}/gptq-3bit-g128/seed0",
    ]
    assert all(v.state == S.STATE_SUCCEEDED and v.artifact_digest for v in study.variants)
    assert study.meta.progress.completed == study.meta.progress.total == 3 * 2 * 120

    request = pb.ListComparisonsRequest(study_id=study.meta.id)
    request.options.filter = 'dimension = "ethics" AND scenario = ""'
    answer = await coordinator.call("ListComparisons", request)
    found = {c.variant_key.split("/")[1]: c for c in answer.comparisons}
    assert found["gptq-8bit-g128"].difference == 0
    # 60 clusters without a difference do not exclude a loss of 2 points.
    assert found["gptq-8bit-g128"].verdict == comparison_pb2.VERDICT_INCONCLUSIVE
    assert found["gptq-3bit-g128"].difference < -20
    assert found["gptq-3bit-g128"].interval_high < 0
    assert found["gptq-3bit-g128"].verdict == comparison_pb2.VERDICT_FAIL
    assert found["gptq-3bit-g128"].p_value_holm < 0.05
    assert found["gptq-3bit-g128"].n_pairs == 120
    assert found["gptq-3bit-g128"].lost > 20

    report = await coordinator.call("GetReport", pb.GetReportRequest(study_id=study.meta.id))
    assert "gptq-3bit" in report.headline
    assert {file.format for file in report.files} == {
        "html", "json", "csv", "plots", "openmetrics",
    }  # fmt: skip
    contents = {}
    for form in ("html", "json", "csv"):
        request = pb.DownloadReportRequest(study_id=study.meta.id, format=form)
        contents[form] = b"".join(
            [part.chunk async for part in stream(coordinator.stub.DownloadReport, request)]
        )
    assert report.headline.encode() in contents["html"]
    assert json.loads(contents["json"])["schema_version"] == 1
    rows = list(csv.DictReader(contents["csv"].decode().splitlines()))
    whole = [row["metric"] for row in rows if not row["scenario"]]
    assert sorted(whole) == sorted(3 * ["ethics", "ethics@further", "fairness", "fairness@further"])

    # One load per variant, and no lease is left behind.
    assert len(loads(world)) == 3
    assert not world.serving.held()


async def test_a_download_with_examples_holds_texts_where_they_may_be_shown_and_keeps_none(
    world, coordinator, model
):
    degrade(world)
    study = await coordinator.finished((await coordinator.create(spec())).meta.id)
    world.evaluators["fairness"].display = False

    async def download(form, include):
        request = pb.DownloadReportRequest(
            study_id=study.meta.id, format=form, include_examples=include
        )
        return b"".join(
            [part.chunk async for part in stream(coordinator.stub.DownloadReport, request)]
        )

    groups = {
        (group["variant_key"].split("/")[1], group["dimension"]): group
        for group in json.loads(await download("json", True))["flips"]
    }
    ethics, fairness = (groups["gptq-3bit-g128", d] for d in ("ethics", "fairness"))
    assert ethics["counts"]["lost"] > 20
    assert len(ethics["flips"]) == 20
    for flip in ethics["flips"]:
        texts = flip["texts"]
        assert texts["prompt"] == f"user: question {flip['sample_id'][1:]}"
        assert texts["completion"] == f"answer of {world.artifact(model, 'gptq-3bit-g128')}"
        assert texts["reference_completion"] == f"answer of {world.artifact(model, 'dense')}"
    assert fairness["texts_withheld"] == "the data pack does not allow its texts to be shown"
    assert all(flip["texts"] is None for flip in fairness["flips"])
    assert groups["gptq-8bit-g128", "ethics"]["flips"] == []
    assert b"user: question" in await download("html", True)
    for form in ("html", "json"):
        assert b"user: question" not in await download(form, False)
    with pytest.raises(InvalidArgument, match="csv"):
        await download("csv", True)
    world.evaluators["fairness"].display = True


async def test_a_study_that_asks_for_it_measures_each_variant_once_on_its_own_weights(
    world, coordinator, model
):
    plain = await coordinator.finished((await coordinator.create(spec())).meta.id)
    assert not world.serving.profiled
    assert not any(variant.HasField("measured") for variant in plain.variants)
    loads = len(loads_of := world.serving.loads)
    # All completions are stored, so the engine is asked for the measurement alone.
    study = await coordinator.finished((await coordinator.create(spec(profile=True))).meta.id)
    assert study.meta.state == S.STATE_SUCCEEDED
    labels = ("dense", "gptq-8bit-g128", "gptq-3bit-g128")
    measured = [digest for digest, _ in world.serving.profiled]
    assert measured == [world.artifact(model, label) for label in labels]
    assert loads_of[loads:] == measured
    assert (world.serving.profiled[0][1].concurrency, world.serving.profiled[0][1].requests) == (
        8,
        32,
    )
    for variant in study.variants:
        assert variant.measured.tokens_per_second == 640
        assert variant.measured.ttft_p95.ToMilliseconds() == 35
        assert variant.measured.prompt_tokens == 128
    assert not world.serving.held()


async def test_a_measurement_that_fails_costs_only_itself(world, coordinator):
    world.serving.measures = False
    study = await coordinator.finished((await coordinator.create(spec(profile=True))).meta.id)
    world.serving.measures = True
    assert study.meta.state == S.STATE_SUCCEEDED
    assert all(variant.state == S.STATE_SUCCEEDED for variant in study.variants)
    assert not any(variant.HasField("measured") for variant in study.variants)


async def test_progress_is_streamed_by_variant_and_dimension(world, coordinator, model):
    world.hold()
    study = await coordinator.create(spec())
    seen, events, etas = set(), [], []
    request = pb.WatchStudyRequest(id=study.meta.id)
    async for update in stream(coordinator.stub.WatchStudy, request):
        events.append(update.event)
        if update.study.meta.progress.HasField("eta"):
            etas.append(update.study.meta.progress.eta)
        for variant in update.study.variants:
            for evaluation in variant.evaluations:
                if evaluation.progress.completed == 60 and evaluation.progress.total == 120:
                    seen.add((variant.label, evaluation.dimension))
                    artifact = world.artifact(model, variant.label)
                    world.evaluators[evaluation.dimension].gate.release(artifact)
    assert seen == {
        (label, dimension)
        for label in ("dense", "gptq-8bit-g128", "gptq-3bit-g128")
        for dimension in ("ethics", "fairness")
    }
    assert any(re.search(r"ethics scored \d+\.\d", event) for event in events)
    assert etas
    assert update.study.meta.state == S.STATE_SUCCEEDED


async def test_a_second_study_needs_no_model_and_makes_nothing(world, coordinator):
    first = await coordinator.create(spec())
    await coordinator.finished(first.meta.id)
    before = (len(loads(world)), len(made(world)), len(generated(world)))

    second = await coordinator.create(spec())
    assert second.meta.id != first.meta.id
    study = await coordinator.finished(second.meta.id)

    assert study.meta.state == S.STATE_SUCCEEDED
    assert (len(loads(world)), len(made(world)), len(generated(world))) == before
    assert all(e.completions_reused == 120 for v in study.variants for e in v.evaluations)


async def test_the_same_request_id_is_the_same_study(coordinator, model):
    first = await coordinator.create(spec(), f"once-{model}")
    again = await coordinator.create(spec(), f"once-{model}")
    assert again.meta.id == first.meta.id
    with pytest.raises(AlreadyExists) as refused:
        await coordinator.create(spec(row_limit=5), f"once-{model}")
    assert refused.value.field == "request_id"


async def test_a_failed_variant_does_not_sink_the_others(world, coordinator, model):
    world.compression.failing.add("gptq-8bit-g128")
    study = await coordinator.finished((await coordinator.create(spec())).meta.id)

    assert study.meta.state == S.STATE_SUCCEEDED
    states = {variant.label: variant.state for variant in study.variants}
    assert states["gptq-8bit-g128"] == S.STATE_FAILED
    assert states["gptq-3bit-g128"] == S.STATE_SUCCEEDED
    failed = next(v for v in study.variants if v.label == "gptq-8bit-g128")
    assert failed.error.reason == "GROUP_SIZE"
    assert failed.error.remedy == "use 16"
    request = pb.DownloadReportRequest(study_id=study.meta.id, format="json")
    parts = [part.chunk async for part in stream(coordinator.stub.DownloadReport, request)]
    (not_run,) = json.loads(b"".join(parts))["not_run"]
    assert not_run["what"] == f"{model}/gptq-8bit-g128/seed0"
    assert "does not divide" in not_run["why"]

    # What failed can be run again once its cause is gone, and only that.
    world.compression.failing.clear()
    assert made(world) == ["dense", "gptq-3bit-g128"]
    await coordinator.call("ResumeStudy", pb.ResumeStudyRequest(id=study.meta.id))
    study = await coordinator.finished(study.meta.id)
    assert all(variant.state == S.STATE_SUCCEEDED for variant in study.variants)
    assert made(world) == ["dense", "gptq-3bit-g128", "gptq-8bit-g128"]


async def test_a_study_without_anything_to_compare_failed_and_says_why(world, coordinator):
    world.compression.failing.update({"dense", "gptq-8bit-g128", "gptq-3bit-g128"})
    study = await coordinator.finished((await coordinator.create(spec())).meta.id)
    assert study.meta.state == S.STATE_FAILED
    assert study.meta.error.reason == "GROUP_SIZE"
    assert "no variant was scored" in study.meta.error.message


async def test_a_pack_with_a_broken_row_is_refused_at_once_with_file_and_row(world, coordinator):
    world.evaluators["fairness"].broken = "data/fairness/x.jsonl:3"
    before = await coordinator.call("ListStudies", pb.ListStudiesRequest())
    with pytest.raises(InvalidArgument) as refused:
        await coordinator.create(spec())
    assert refused.value.field == "data/fairness/x.jsonl:3"
    assert refused.value.metadata["dimension"] == "fairness"
    after = await coordinator.call("ListStudies", pb.ListStudiesRequest())
    assert len(after.studies) == len(before.studies)


async def test_an_unknown_parser_version_is_refused_at_once(world, coordinator):
    with pytest.raises(InvalidArgument) as refused:
        await coordinator.create(spec(parser_versions=("assay-2026", "latest")))
    assert refused.value.field == "spec.parser_versions"
    assert "ct-2024-02" in refused.value.remedy


async def test_a_dimension_whose_pack_breaks_later_fails_alone(world, coordinator):
    world.compression.gate.hold()
    study = await coordinator.create(spec())
    await coordinator.until(study.meta.id, compressing)
    world.evaluators["fairness"].broken = "data/fairness/x.jsonl:3"
    world.compression.gate.open()
    study = await coordinator.finished(study.meta.id)
    assert study.meta.state == S.STATE_SUCCEEDED
    for variant in study.variants:
        by_dimension = {e.dimension: e for e in variant.evaluations}
        assert by_dimension["ethics"].state == S.STATE_SUCCEEDED
        assert by_dimension["fairness"].state == S.STATE_FAILED
        assert by_dimension["fairness"].error.field == "data/fairness/x.jsonl:3"


async def test_the_plan_counts_what_is_left_and_starts_nothing(world, coordinator):
    request = pb.PlanStudyRequest(spec=spec())
    before = await coordinator.call("PlanStudy", request)
    assert before.completions == 3 * 2 * 120
    assert before.samples == 2 * 120
    assert not before.HasField("disk_bytes")  # no artifact tells how large one is
    assert before.engine_seconds == before.completion_tokens / before.tokens_per_second
    assert [v.artifact_exists for v in before.variants] == [False] * 3
    assert not made(world)
    await coordinator.finished((await coordinator.create(spec())).meta.id)
    after = await coordinator.call("PlanStudy", request)
    assert (after.completions, after.completions_stored) == (0, 3 * 2 * 120)
    assert after.disk_bytes >= 0
    assert all(v.artifact_exists for v in after.variants)


async def test_the_gate_of_the_study_and_another_policy(world, coordinator, model):
    degrade(world)
    text = STUDY.replace("small", model) + "gate: {require_utility: false, default_margin: 10}\n"
    study = await coordinator.finished((await coordinator.create(spec(text))).meta.id)
    assert study.gate_result.verdict == comparison_pb2.VERDICT_FAIL
    assert study.gate_result.headline.startswith("Do not ship gptq-3bit-g128: ethics -")
    verdicts = {v.variant_key: v.verdict for v in study.gate_result.variants}
    assert verdicts[f"{model}/gptq-8bit-g128/seed0"] == comparison_pb2.VERDICT_PASS

    lenient = comparison_pb2.GatePolicy(default_margin=90, require_utility=False)
    request = pb.EvaluateGateRequest(study_id=study.meta.id, policy=lenient)
    answer = await coordinator.call("EvaluateGate", request)
    assert answer.result.verdict == comparison_pb2.VERDICT_PASS

    strict = comparison_pb2.GatePolicy(default_margin=90)
    request = pb.EvaluateGateRequest(study_id=study.meta.id, policy=strict)
    answer = await coordinator.call("EvaluateGate", request)
    assert answer.result.verdict == comparison_pb2.VERDICT_INCONCLUSIVE
    assert "utility was not evaluated" in answer.result.variants[0].reasons[0]


async def test_a_claim_about_a_recipe_is_judged_by_the_mean_over_its_seeds(
    world, coordinator, model
):
    for evaluator in world.evaluators.values():
        for seed, accuracy in enumerate((0.5, 0.45, 0.55, 0.4, 0.5)):
            evaluator.accuracy[world.artifact(model, "gptq-3bit-g128", seed)] = accuracy
    text = (
        STUDY.replace("small", model).replace("[8, 3]", "[3]")
        + "calibration_seeds: [0, 1, 2, 3, 4]\n"
        + "gate: {claim: recipe, require_utility: false, default_margin: 10}\n"
    )
    study = await coordinator.finished((await coordinator.create(spec(text))).meta.id)
    assert study.meta.state == S.STATE_SUCCEEDED, study.meta.error
    (judged,) = study.gate_result.variants
    assert judged.variant_key == f"{model}/gptq-3bit-g128"
    assert judged.verdict == comparison_pb2.VERDICT_FAIL
    request = pb.ListComparisonsRequest(study_id=study.meta.id)
    request.options.filter = f'variant_key = "{judged.variant_key}" AND dimension = "ethics"'
    (found,) = (await coordinator.call("ListComparisons", request)).comparisons
    assert (found.claim, found.n_seeds) == (comparison_pb2.CLAIM_RECIPE, 5)
    assert found.between_seed_sd > 0
    assert found.interval_low < found.difference < found.interval_high


async def test_a_study_that_may_stop_early_stops_where_a_look_decides(world, coordinator, model):
    degrade(world, accuracy=0.2)
    for evaluator in world.evaluators.values():
        evaluator.scenarios = (Scenario("zero_shot", 400),)
    text = (
        STUDY.replace("small", model)
        + "gate: {require_utility: false, default_margin: 10}\n"
        + "early_stopping: {first_rows: 50, growth: 2}\n"
    )
    study = await coordinator.finished((await coordinator.create(spec(text))).meta.id)
    assert study.meta.state == S.STATE_SUCCEEDED, study.meta.error
    request = pb.ListComparisonsRequest(study_id=study.meta.id)
    found = (await coordinator.call("ListComparisons", request)).comparisons
    bad = next(c for c in found if "3bit" in c.variant_key and c.dimension == "ethics")
    assert bad.interval_method == "betting confidence sequence without replacement"
    assert bad.verdict == comparison_pb2.VERDICT_FAIL
    assert bad.n_pairs < 400
    assert not bad.HasField("p_value")  # a fixed-n test would not hold after looks
    assert any("stopped early" in note and "were saved" in note for note in bad.notes)
    good = next(c for c in found if "8bit" in c.variant_key and c.dimension == "ethics")
    assert good.verdict == comparison_pb2.VERDICT_PASS
    artifact = world.artifact(model, "gptq-3bit-g128")
    made_rows = [row for row in generated(world) if row[0] == artifact]
    assert len(made_rows) < 2 * 400
    assert not generated_twice(world)
    policy = comparison_pb2.GatePolicy(default_margin=10, require_utility=False)
    answer = await coordinator.call(
        "EvaluateGate", pb.EvaluateGateRequest(study_id=study.meta.id, policy=policy)
    )
    assert answer.result.verdict == comparison_pb2.VERDICT_FAIL


async def test_studies_are_listed_filtered_and_deleted(world, coordinator, model):
    done = await coordinator.finished((await coordinator.create(spec(name=model))).meta.id)
    request = pb.ListStudiesRequest()
    request.options.filter = f'state = "SUCCEEDED" AND name = "{model}"'
    listed = await coordinator.call("ListStudies", request)
    assert [study.meta.id for study in listed.studies] == [done.meta.id]
    key = f"reports/{done.meta.id}/report.html"
    assert world.data.exists(key)
    await coordinator.call("DeleteStudy", pb.DeleteStudyRequest(id=done.meta.id))
    assert not world.data.exists(key)
    with pytest.raises(NotFound):
        await coordinator.get(done.meta.id)


async def test_what_is_wrong_is_said_at_once_with_its_field(coordinator):
    with pytest.raises(InvalidArgument) as refused:
        await coordinator.create(spec(dimensions=("toxicity",)))
    assert refused.value.field == "spec.dimensions"
    assert "ethics, fairness" in str(refused.value)
    wrong = spec()
    wrong.recipes[1].gptq.bits = 5
    with pytest.raises(InvalidArgument) as refused:
        await coordinator.create(wrong)
    assert refused.value.field == "spec.recipes[1].gptq.bits"
    with pytest.raises(NotFound):
        await coordinator.get("study-none")
    with pytest.raises(NotFound):
        request = pb.GetReportRequest(study_id="study-none")
        await coordinator.call("GetReport", request)


async def test_any_two_variants_are_compared_also_across_studies(world, coordinator, model):
    degrade(world)
    first = await coordinator.finished((await coordinator.create(spec())).meta.id)
    second = await coordinator.finished((await coordinator.create(spec())).meta.id)
    request = pb.CompareVariantsRequest(
        study_id=first.meta.id,
        variant_key=f"{model}/gptq-3bit-g128/seed0",
        reference_study_id=second.meta.id,
        reference_key=f"{model}/gptq-8bit-g128/seed0",
    )
    found = (await coordinator.call("CompareVariants", request)).comparisons
    whole = [c for c in found if not c.scenario]
    assert [c.dimension for c in whole] == ["ethics", "fairness"]
    assert all(c.difference < -20 and c.p_value_holm < 0.05 for c in whole)
    request.reference_key = "none"
    with pytest.raises(NotFound) as refused:
        await coordinator.call("CompareVariants", request)
    assert f"{model}/dense/seed0" in refused.value.remedy


async def test_the_leaderboard_ranks_variants_over_studies(world, coordinator, model):
    degrade(world)
    study = await coordinator.finished((await coordinator.create(spec())).meta.id)
    await coordinator.finished((await coordinator.create(spec())).meta.id)
    request = pb.ListLeaderboardRequest(dimension="ethics")
    entries = (await coordinator.call("ListLeaderboard", request)).entries
    mine = [entry for entry in entries if entry.model == model]
    assert {entry.label for entry in mine} == {"dense", "gptq-8bit-g128", "gptq-3bit-g128"}
    assert mine[-1].label == "gptq-3bit-g128"
    assert mine[-1].scores.keys() == {"ethics", "fairness"}
    assert mine[-1].value == mine[-1].scores["ethics"]
    assert study.meta.id not in mine[0].study_ids  # the newest study counts
    assert [entry.rank for entry in entries] == list(range(1, len(entries) + 1))


async def test_the_server_says_what_it_can(coordinator):
    info = await coordinator.call("GetServerInfo", pb.GetServerInfoRequest())
    assert {"dimension.ethics", "canary"} <= set(info.info.capabilities)
    assert not info.info.unavailable
