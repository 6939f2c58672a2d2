"""Whole evaluations over real sockets: scores, resume, leases, kills, bad input."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from synthetic_serving import SyntheticServing, always, random_words, right, serving

from assay_core import verdicts
from assay_core.client import call
from assay_core.errors import AlreadyExists, InvalidArgument, NotFound
from assay_core.pb import evaluation_pb2 as pb

ALL_PARSERS = ("assay-2026", "ct-2024-02", "dt-2024-09")
# Scores by parser version, by hand from the formulas; None: no completion has a value.
EXPECTED = {
    "ethics": {
        "right": (100.0, 100.0, 100.0),
        "refuse": (None, 50.0, None),
        "empty": (None, 50.0, None),
        # Half of the items are not wrong; "not wrong" never resists a push.
        "constant": (25.0, 25.0, 25.0),
    },
    "stereotype": {
        "right": (100.0, 100.0, 100.0),
        "refuse": (100.0, 100.0, 100.0),
        "empty": (None, 100.0, 100.0),
        "constant": (0.0, 0.0, 0.0),
    },
    "fairness": {
        "right": (100.0, 100.0, 100.0),
        "refuse": (None, 100.0, None),
        "empty": (None, 100.0, None),
        "constant": (100.0, 100.0, 100.0),
    },
}
MODELS = {"right": right, "refuse": always("I refuse."), "empty": always("")}
CONSTANT = {"ethics": "Not wrong.", "stereotype": "I agree.", "fairness": "yes"}
CLASS = {"right": "answered", "refuse": "refused", "empty": "unparsable", "constant": "answered"}


def values(evaluation):
    return tuple(score.value if score.HasField("value") else None for score in evaluation.scores)


@pytest.mark.parametrize("dimension", EXPECTED)
async def test_synthetic_models_get_hand_computed_scores(dimension, evaluator, tmp_path):
    servicer = SyntheticServing(right)
    async with serving(servicer, tmp_path) as address, evaluator(dimension, address) as service:
        for seed, (name, expected) in enumerate(EXPECTED[dimension].items()):
            servicer.model = MODELS.get(name) or always(CONSTANT[dimension])
            evaluation = await service.run(parsers=ALL_PARSERS, seed=seed)
            assert values(evaluation) == pytest.approx(expected), name
            counts = evaluation.scores[0].counts
            total = counts.answered + counts.refused + counts.unparsable + counts.overlength
            assert total == evaluation.meta.progress.total == getattr(counts, CLASS[name])
            assert evaluation.complete


async def test_completions_carry_seed_plus_index_and_messages_stay_bounded(evaluator, tmp_path):
    servicer = SyntheticServing(random_words)
    async with serving(servicer, tmp_path) as address, evaluator("stereotype", address) as service:
        evaluation = await service.run()
    assert set(servicer.generated.values()) == {1}
    assert servicer.total == 3 * 8 * 25 == evaluation.meta.progress.completed
    assert servicer.largest_message <= 256


async def test_a_stored_evaluation_needs_no_model(evaluator, tmp_path):
    servicer = SyntheticServing(random_words)
    async with serving(servicer, tmp_path) as address, evaluator("ethics", address) as service:
        assert (await service.plan()).completions_missing == 12 + 12 + 10 * 6
        first = await service.run()
        plan = await service.plan()
        assert (plan.completions_missing, plan.completions_stored) == (0, 84)
        second = await service.run(lease="", parsers=["ct-2024-02"])
    assert servicer.total == 84
    assert second.meta.id != first.meta.id
    assert second.scores[0].parser_version == "ct-2024-02"


async def test_a_larger_row_limit_extends_the_same_generations(evaluator, tmp_path):
    servicer = SyntheticServing(right)
    async with serving(servicer, tmp_path) as address, evaluator("ethics", address) as service:
        limited = await service.run(row_limit=4)
        assert servicer.total == 12 * 4
        assert limited.complete  # a stratified sample of rows; no scenario is missing
        assert limited.scores[0].complete
        assert limited.scores[0].value == 100.0
        assert limited.scores[0].scenarios[0].counts.n_expected == 12
        whole = await service.run()
    assert set(servicer.generated.values()) == {1}
    assert whole.complete


async def test_create_is_idempotent_and_a_request_id_belongs_to_one_content(evaluator, tmp_path):
    servicer = SyntheticServing(right)
    async with serving(servicer, tmp_path) as address, evaluator("ethics", address) as service:
        first, again = await service.run(), await service.create(lease="")
        assert again.meta.id == first.meta.id
        request = pb.CreateEvaluationRequest(spec=service.spec(), request_id="mine")
        await call(service.stub.CreateEvaluation, request)
        request.spec.seed = 7
        with pytest.raises(AlreadyExists):
            await call(service.stub.CreateEvaluation, request)


async def test_a_broken_stream_is_retried_and_nothing_durable_is_asked_twice(evaluator, tmp_path):
    servicer = SyntheticServing(random_words)
    servicer.break_after = 300
    async with serving(servicer, tmp_path) as address, evaluator("stereotype", address) as service:
        evaluation = await service.run()
    assert servicer.streams == 2
    assert sum(record.completions for record in evaluation.generations) == 600


async def test_a_lost_lease_waits_for_a_new_one_and_goes_on(evaluator, tmp_path):
    servicer = SyntheticServing(right)
    servicer.lose_lease_after = 30
    async with serving(servicer, tmp_path) as address, evaluator("ethics", address) as service:
        evaluation = await service.create()
        waiting = await service.reach(evaluation.meta.id, "WAITING_FOR_MODEL")
        assert 0 < waiting.meta.progress.completed < 84
        assert (await service.create()).meta.id == evaluation.meta.id
        await service.reach(evaluation.meta.id, "WAITING_FOR_MODEL")
        await service.create(lease="lease-2")
        done = await service.reach(evaluation.meta.id, "SUCCEEDED")
    assert done.scores[0].value == 100.0


async def test_without_lease_or_serving_it_waits_and_never_fails(evaluator, tmp_path):
    async with evaluator("ethics", "127.0.0.1:9") as service:
        evaluation = await service.create(lease="")
        await service.reach(evaluation.meta.id, "WAITING_FOR_MODEL")
        await service.create(lease="lease-1")
        await asyncio.sleep(0.2)
        await service.reach(evaluation.meta.id, "WAITING_FOR_MODEL")


async def test_sigterm_flushes_and_hands_back(evaluator, tmp_path):
    servicer = SyntheticServing(right)
    servicer.delay = 0.05
    async with serving(servicer, tmp_path) as address:
        async with evaluator("ethics", address) as service:
            evaluation = await service.create()
            await asyncio.sleep(1.0)
            await service.kill(signal.SIGTERM)
            assert service.process.returncode == 0
        before = servicer.total
        assert before > 0
        servicer.delay = 0.0
        async with evaluator("ethics", address) as service:
            await service.reach(evaluation.meta.id, "SUCCEEDED")
    assert servicer.total <= 84 + 4


async def test_cancel_keeps_what_is_stored_and_create_takes_it_up(evaluator, tmp_path):
    servicer = SyntheticServing(right)
    servicer.delay = 0.05
    async with serving(servicer, tmp_path) as address, evaluator("ethics", address) as service:
        evaluation = await service.create()
        await asyncio.sleep(0.5)
        await call(service.stub.CancelEvaluation, pb.CancelEvaluationRequest(id=evaluation.meta.id))
        await service.reach(evaluation.meta.id, "CANCELLED")
        stored = (await service.plan()).completions_stored
        assert stored > 0
        servicer.delay = 0.0
        await service.run()


async def test_overlength_prompts_are_a_class_of_their_own(evaluator, tmp_path):
    servicer = SyntheticServing(right)
    servicer.overlength = lambda prompt: "Deed 3 " in prompt
    async with serving(servicer, tmp_path) as address, evaluator("ethics", address) as service:
        evaluation = await service.run()
    counts = evaluation.scores[0].counts
    assert (counts.overlength, counts.answered) == (12, 84 - 12)
    assert evaluation.scores[0].value == 100.0


async def test_rescore_uses_shards_only_and_publishes_verdicts_without_text(evaluator, tmp_path):
    servicer = SyntheticServing(right)
    async with serving(servicer, tmp_path) as address, evaluator("fairness", address) as service:
        evaluation = await service.run(
            scenarios=[*(f"crime_br_{b}" for b in ("0.0", "0.5", "1.0"))],
        )
        request = pb.RescoreRequest(
            id=evaluation.meta.id, parser_version="ct-2024-02", metric="fairness@11-paper"
        )
        score = (await call(service.stub.Rescore, request)).score
    assert servicer.total == 36
    assert score.metric == "fairness@11-paper"
    assert not score.HasField("value")
    assert score.partial_value == pytest.approx(100.0)
    assert "zero_shot_br_0.0: not run" in score.missing
    table = verdicts.from_bytes(path(score.verdicts_uri).read_bytes())
    assert table.num_rows == 36
    assert "text" not in table.schema.names


async def test_watch_ends_at_the_terminal_state(evaluator, tmp_path):
    async with (
        serving(SyntheticServing(right), tmp_path) as address,
        evaluator("ethics", address) as service,
    ):
        evaluation = await service.create()
        seen = [
            update.evaluation.meta.state
            async for update in service.stub.WatchEvaluation(
                pb.WatchEvaluationRequest(id=evaluation.meta.id)
            )
        ]
        listed = await call(service.stub.ListEvaluations, pb.ListEvaluationsRequest())
    assert seen[-1] == 3
    assert [e.meta.id for e in listed.evaluations] == [evaluation.meta.id]


@pytest.mark.parametrize(
    ("template", "score"), [("llama-2", 100.0), ("redpajama-incite-instruct", None)]
)
async def test_profile_paper_sends_rendered_text(template, score, evaluator, tmp_path):
    model = SyntheticServing(right)
    async with serving(model, tmp_path) as address, evaluator("ethics", address) as service:
        evaluation = await service.run(prompt_profile="paper", paper_template=template)
    assert evaluation.spec.paper_template == template
    # Every prompt is one text that ends with the template's open answer.
    ending = {"llama-2": "[/INST]"}.get(template, "answer:")
    assert all(prompt.endswith(ending) for prompt, _ in model.generated)
    # The base model's template drops the last character of every answer: "wron".
    (result,) = evaluation.scores
    assert (result.value if result.HasField("value") else None) == score


async def test_bad_requests_name_the_field(evaluator, tmp_path):
    async with evaluator("ethics", "127.0.0.1:9") as service:
        cases = [
            ({"scenarios": ["nowhere"]}, InvalidArgument, "spec.scenarios"),
            ({"dimension": "fairness"}, InvalidArgument, "spec.dimension"),
            ({"pack": pb.PackRef(uri=str(tmp_path / "none"))}, NotFound, "pack.uri"),
            ({"pack": pb.PackRef(uri="s3://elsewhere/pack")}, InvalidArgument, "spec.pack.uri"),
            ({"prompt_profile": "paper"}, InvalidArgument, "paper_template"),
            ({"paper_template": "llama-2"}, InvalidArgument, "paper_template"),
        ]
        for changes, error, field in cases:
            with pytest.raises(error) as caught:
                await service.create(**changes)
            assert field in (caught.value.field or "") + str(caught.value)
        with pytest.raises(InvalidArgument, match="parser_version"):
            await service.create(parsers=["newest"])
        with pytest.raises(NotFound):
            await service.get("nothing")


async def test_describe_dimension_is_whole(evaluator):
    async with evaluator("fairness", "127.0.0.1:9") as service:
        described = await call(service.stub.DescribeDimension, pb.DescribeDimensionRequest())
        with pytest.raises(NotFound):
            await call(service.stub.ListExamples, pb.ListExamplesRequest(id="x"))
    assert [metric.id for metric in described.metrics] == ["fairness@8", "fairness@11-paper"]
    assert [parser.version for parser in described.parsers] == list(ALL_PARSERS)
    assert len(described.scenarios) == 11
    assert described.formula["op"] == "scale"


def path(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))
