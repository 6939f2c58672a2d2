"""Generating and cancelling in this process: what is under way is neither lost nor asked twice."""

from __future__ import annotations

import asyncio
import contextvars
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from synthetic_serving import ARTIFACT, SyntheticServing, right, serving

from assay_core.auth import Principal, Scope, set_principal
from assay_core.client import channel
from assay_core.errors import FailedPrecondition, InvalidArgument, NotFound, to_proto
from assay_core.pb import evaluation_pb2, serving_pb2, serving_pb2_grpc
from assay_core.resources import ResourceStore, State
from assay_core.storage import ObjectStore
from assay_evaluators.packs.depot import PackDepot
from assay_evaluators.scorers.registry import Scorers
from assay_evaluators.sdk.dimension import load_dimension
from assay_evaluators.sdk.generate import Generator, Lease, Limits
from assay_evaluators.sdk.spec import Engine, Spec, Subject
from assay_evaluators.service.evaluations import Creation, Evaluations
from assay_evaluators.service.pack_access import PackAccess
from assay_evaluators.service.scoring import Scoring
from assay_evaluators.service.servicer import EvaluationServicer

LEASE = Lease("lease-1", ARTIFACT)
ENGINE = Engine(
    family="synthetic", version="1", dtype="none", kv_cache_dtype="none", max_model_len=8192,
    device_class="cpu",
)  # fmt: skip


class SlowStore(ObjectStore):
    """A store that takes its time over every shard, as one far away does."""

    seconds = 0.2

    def write_bytes(self, key: str, data: bytes) -> None:
        if key.endswith(".parquet"):
            time.sleep(self.seconds)
        super().write_bytes(key, data)


class Refusing(SyntheticServing):
    """An external endpoint whose key was revoked: every item fails for good."""

    def _answer(self, item):
        self.generated[item.id, 0] += 1
        error = to_proto(FailedPrecondition("HTTP 401", reason="ENDPOINT_REFUSED"))
        failed = serving_pb2.FINISH_REASON_ERROR
        return [serving_pb2.Completion(id=item.id, finish_reason=failed, error=error)]


@dataclass
class Bench:
    """The evaluations of ethics and what they are asked."""

    evaluations: Evaluations
    spec: Spec

    async def create(self):
        return await self.evaluations.create(
            Creation("default", "", self.spec, ("assay-2026",), LEASE)
        )

    async def reach(self, evaluation_id: str, *states: State):
        async with asyncio.timeout(60):
            while True:
                record = await self.evaluations.records.get(evaluation_id)
                if record.state in states:
                    return record
                await asyncio.sleep(0.02)


@pytest.fixture
def bench(tmp_path, mini_pack, mini_uri):
    @asynccontextmanager
    async def start(servicer: SyntheticServing, limits: Limits):
        store = SlowStore(str(tmp_path / "data"))
        packs = PackAccess({"mini": mini_uri}, (), PackDepot(store))
        scoring = Scoring(load_dimension("ethics"), packs, store, Scorers(None))
        records = ResourceStore(f"sqlite:///{tmp_path / 'records.sqlite'}", "evaluations")
        async with serving(servicer, tmp_path) as address, channel(address) as open_channel:
            stub = serving_pb2_grpc.ServingServiceStub(open_channel)
            evaluations = Evaluations(
                scoring, records=records, generator=Generator(stub, store, limits), at_once=1
            )
            subject = Subject(
                artifact_digest=ARTIFACT, engine=ENGINE, tokenizer_digest="",
                chat_template_digest="",
            )  # fmt: skip
            spec = Spec(
                dimension="ethics", pack_uri="mini", pack_digest=mini_pack.digest, subject=subject
            )
            try:
                yield Bench(evaluations, spec)
            finally:
                await evaluations.stop()
                await records.close()

    return start


async def test_a_write_that_the_end_of_a_stream_meets_is_waited_for(bench):
    servicer = SyntheticServing(right)
    servicer.delay = 0.002
    async with bench(servicer, Limits(flush_seconds=0.05)) as found:
        record = await found.create()
        record = await found.reach(record.id, State.SUCCEEDED)
    assert servicer.streams == 1
    assert set(servicer.generated.values()) == {1}
    assert record.progress.completed == record.progress.total == 84


async def test_a_cancel_whose_caller_has_gone_is_carried_out_all_the_same(bench):
    servicer = SyntheticServing(right)
    servicer.delay = 0.05
    async with bench(servicer, Limits(flush_seconds=0.1)) as found:
        record = await found.create()
        await servicer.reach(10, 30)
        asked = asyncio.create_task(found.evaluations.cancel(record.id))
        await found.reach(record.id, State.CANCELLING)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        await found.reach(record.id, State.CANCELLED)


async def test_what_an_endpoint_refuses_for_good_fails_and_waits_for_no_other_lease(bench):
    servicer = Refusing(right)
    async with bench(servicer, Limits()) as found:
        record = await found.create()
        record = await found.reach(record.id, State.FAILED, State.WAITING_FOR_MODEL)
    assert (record.state, record.error.reason) == (State.FAILED, "ENDPOINT_REFUSED")


async def test_an_evaluation_of_another_project_is_not_found_as_one_that_is_not_there(bench):
    async with bench(SyntheticServing(right), Limits()) as found:
        record = await found.create()
        servicer = EvaluationServicer(found.evaluations, None)
        stranger = contextvars.copy_context()
        stranger.run(set_principal, Principal("someone", Scope.RUN, frozenset({"another"})))

        async def get(evaluation_id):
            with pytest.raises(NotFound) as refused:
                request = evaluation_pb2.GetEvaluationRequest(id=evaluation_id)
                await servicer.GetEvaluation(request, None)
            return refused.value.text

        texts = [
            await asyncio.create_task(get(name), context=stranger)
            for name in (record.id, "ethics-00000000000000000000")
        ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("uri", ["~nobody-of-that-name/pack", "a\0b", "file:///a\0b"])
def test_what_is_no_path_is_the_callers_mistake(uri, tmp_path):
    access = PackAccess({}, ("/",), PackDepot(ObjectStore(str(tmp_path))))
    with pytest.raises(InvalidArgument, match="is not a path"):
        access.open(uri)
