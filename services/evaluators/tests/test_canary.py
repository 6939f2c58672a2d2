"""Replays: paced, measured, resumed, and compared without a text leaving the evaluator."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_serving import SyntheticServing, always, serving

from assay_core.client import call, stream
from assay_core.errors import FailedPrecondition, InvalidArgument
from assay_core.pb import evaluation_pb2 as pb
from assay_core.pb import serving_pb2
from assay_evaluators.sdk.pacing import Pace, gap
from assay_evaluators.sdk.replaying import similarity
from assay_evaluators.sdk.spec import Replay

PROMPTS = 24
WARM_UPS = 16
"""Two rounds of the eight requests that are in flight unasked."""


@pytest.fixture
def prompts(tmp_path) -> str:
    file = tmp_path / "my.jsonl"
    rows = ({"messages": [{"role": "user", "content": f"question {k}"}]} for k in range(PROMPTS))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def replay(run: str, **load: object) -> pb.Replay:
    return pb.Replay(run=run, **load)


async def pairs(service, variant, reference) -> list[pb.ReplayPair]:
    request = pb.PairReplaysRequest(id=variant.meta.id, reference_id=reference.meta.id)
    return [p async for r in stream(service.stub.PairReplays, request) for p in r.pairs]


# -- pure ------------------------------------------------------------------------------------------


def test_similarity_is_f1_of_shared_words():
    assert similarity("a b c d", "A, b") == pytest.approx(2 * 2 / (4 + 3))
    assert similarity("yes", "no") == 0.0
    assert similarity("", " ") == 1.0
    assert similarity("", "yes") == 0.0


@given(st.text(), st.text())
def test_similarity_is_symmetric_and_of_equal_texts_one(text, other):
    assert similarity(text, text) == 1.0
    assert similarity(text, other) == similarity(other, text)
    assert 0 <= similarity(text, other) <= 1


def test_gaps_are_exponential_and_a_function_of_seed_and_prompt():
    drawn = [gap(7, f"line-{k}", 4.0) for k in range(20_000)]
    assert sum(drawn) / len(drawn) == pytest.approx(0.25, rel=0.02)
    assert sum(g > 0.25 for g in drawn) / len(drawn) == pytest.approx(0.3679, abs=0.01)
    assert gap(7, "line-3", 4.0) == drawn[3] != gap(8, "line-3", 4.0)
    assert gap(7, "line-3", 8.0) == pytest.approx(drawn[3] / 2)


async def test_an_open_loop_counts_from_when_a_request_should_have_been_sent():
    now = 100.0
    pace = Pace(Replay(run="r", arrival_rate=1000.0), 0, clock=lambda: now)
    assert pace.warm_ups([]) == []
    await pace.begin()
    now += 5.0  # the loop was kept busy elsewhere
    await pace.arrival("a")
    pace.sent("0:0")
    now += 1.0
    timing = pace.timing("0:0")
    assert timing["arrival"] == gap(0, "a", 1000.0)
    assert timing["latency"] == pytest.approx(6.0 - timing["arrival"])


async def test_a_closed_loop_counts_from_when_a_request_is_sent():
    now = 100.0
    pace = Pace(Replay(run="r", concurrency=2), 0, clock=lambda: now)
    assert pace.in_flight(512) == 2
    assert pace.warm_ups([]) == []
    await pace.begin()
    now += 5.0
    await pace.arrival("a")
    pace.sent("0:0")
    now += 1.0
    assert pace.timing("0:0") == {"segment": pace._segment, "arrival": 5.0, "latency": 1.0}


def test_warm_ups_have_the_shape_of_the_replay_and_a_beginning_of_their_own():
    item = serving_pb2.GenerateItem(id="0:5", seed=9, completion_indices=[0])
    item.sampling.max_tokens = 64
    item.chat.messages.add(role="system", content="Be brief.")
    item.chat.messages.add(role="user", content="Why?")
    pace = Pace(Replay(run="r", concurrency=2), 0)
    made = pace.warm_ups([item] * 10)
    assert [each.id for each in made] == [f"warm-up {k}" for k in range(4)]
    assert [m.content for m in made[1].chat.messages] == ["warm-up 1. Be brief.", "Why?"]
    assert made[1].sampling.max_tokens == 64
    assert item.chat.messages[0].content == "Be brief."
    assert len(Pace(Replay(run="r", arrival_rate=1.0), 0).warm_ups([item] * 50)) == 32


# -- the evaluator as a process --------------------------------------------------------------------


async def test_two_replays_are_compared_without_text(evaluator, tmp_path, prompts):
    servicer = SyntheticServing(lambda prompt, seed: f"It is {prompt}.")
    async with (
        serving(servicer, tmp_path) as address,
        evaluator("canary", address, prompts) as service,
    ):
        reference = await service.run(replay=replay("c/reference"))
        again = await service.run(replay=replay("c/variant"))
        assert servicer.total == 2 * (PROMPTS + WARM_UPS)  # another run generates anew
        servicer.model = always("I'm sorry, but I cannot help with that.")
        refusing = await service.run(replay=replay("d/variant"))
        found = await pairs(service, again, reference)
        assert [p.sample_id for p in found] == [f"line-{k + 1}" for k in range(PROMPTS)]
        for pair in found:
            assert (pair.same, pair.similarity, pair.variant.verdict) == (True, 1.0, "answered")
            assert pair.variant.latency_seconds > 0
            assert pair.variant.HasField("toxicity")
            assert pair.variant.completion_tokens == 3
        shifted = await pairs(service, refusing, reference)
        assert {(p.same, p.variant.verdict, p.reference.verdict) for p in shifted} == {
            (False, "refused", "answered")
        }
        counts = refusing.scores[0].counts
        assert (counts.refused, counts.n) == (PROMPTS, PROMPTS)


async def test_an_open_loop_keeps_its_gaps(evaluator, tmp_path, prompts):
    servicer = SyntheticServing(always("Yes."))
    async with (
        serving(servicer, tmp_path) as address,
        evaluator("canary", address, prompts) as service,
    ):
        done = await service.run(replay=replay("open", arrival_rate=40.0), seed=3)
        found = await pairs(service, done, done)
    due, moment = [], 0.0
    for pair in found:
        moment += gap(3, pair.sample_id, 40.0)
        due.append(moment)
    assert [p.variant.arrival_seconds for p in found] == pytest.approx(due)


async def test_a_killed_replay_goes_on_and_repeats_only_what_was_not_stored(
    evaluator, tmp_path, prompts
):
    servicer = SyntheticServing(always("Yes."))
    async with serving(servicer, tmp_path) as address:
        async with evaluator("canary", address, prompts) as service:
            servicer.delay = 0.6  # a shard is written every five seconds
            created = await service.create(replay=replay("k", concurrency=1))
            stored = 0
            while not stored:
                await asyncio.sleep(0.05)
                stored = (await service.get(created.meta.id)).meta.progress.completed
            servicer.delay = 60.0
            await service.kill(signal.SIGKILL)
        await asyncio.sleep(1.5)  # what was in flight may still be generated, and is lost
        servicer.delay = 0.0
        before = servicer.total
        async with evaluator("canary", address, prompts) as service:
            ended = await service.reach(created.meta.id, "SUCCEEDED")
            found = await pairs(service, ended, ended)
    segments = [pair.variant.segment for pair in found]
    kept = segments.count(0)
    assert stored <= kept < PROMPTS  # the record may lag behind the shards
    assert servicer.total - before == PROMPTS - kept + 2
    assert segments.count(1) == PROMPTS - kept


@pytest.fixture
def broken(prompts) -> str:
    Path(prompts).write_text('{"messages": [{"role": "user", "content": "secret"}]}\n{"id": "x"}\n')
    return prompts


async def test_a_broken_prompt_is_refused_before_anything_is_created(evaluator, tmp_path, broken):
    servicer = SyntheticServing(always("Yes."))
    async with (
        serving(servicer, tmp_path) as address,
        evaluator("canary", address, broken) as service,
    ):
        with pytest.raises(InvalidArgument, match=r"my\.jsonl:2: field messages"):
            await service.create(replay=replay("b"))
    assert servicer.total == 0


async def test_a_load_does_not_go_with_another_dimension(evaluator, tmp_path):
    servicer = SyntheticServing(always("Yes."))
    async with serving(servicer, tmp_path) as address, evaluator("ethics", address) as service:
        with pytest.raises(InvalidArgument, match="ethics"):
            await service.plan(replay=replay("b"))
        done = await service.run()
        request = pb.PairReplaysRequest(id=done.meta.id, reference_id=done.meta.id)
        with pytest.raises(FailedPrecondition, match="no replay"):
            await anext(stream(service.stub.PairReplays, request))
        assert await call(service.stub.GetEvaluation, pb.GetEvaluationRequest(id=done.meta.id))
