"""Canaries end to end: a real coordinator process, real sockets, small honest peers."""

from __future__ import annotations

import asyncio
import csv
import itertools
import json

import pytest
import pytest_asyncio
from conftest import FINAL, Coordinator
from fake_peers import Scenario, World

from assay_core.client import call, stream
from assay_core.errors import FailedPrecondition, InvalidArgument, NotFound
from assay_core.pb import common_pb2, comparison_pb2, compression_pb2
from assay_core.pb import coordination_pb2 as pb
from assay_core.recipes import Recipe

S = common_pb2.State
PASS, FAIL = comparison_pb2.VERDICT_PASS, comparison_pb2.VERDICT_FAIL
PROMPTS = 60

pytestmark = pytest.mark.asyncio(loop_scope="module")
_numbers = itertools.count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory):
    async with World(tmp_path_factory.mktemp("world"), dimensions=("canary",)) as world:
        coordinator = Coordinator(world)
        try:
            await coordinator.start()
            yield coordinator
        finally:
            await coordinator.close()


@pytest.fixture(autouse=True)
def model(stack):
    """A model of its own for each test, so that nothing of another test is found stored."""
    stack.world.reset()
    stack.world.model = f"model{next(_numbers)}"
    stack.world.evaluators["canary"].scenarios = (Scenario("replay", PROMPTS),)
    return stack.world.model


@pytest_asyncio.fixture(loop_scope="module")
async def coordinator(stack):
    if stack.process.poll() is not None:
        await stack.start()
    return stack


async def until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what a fake of this process has done
            await asyncio.sleep(0.02)


async def variant(coordinator, recipe: str) -> str:
    """Id of a variant that compression has made."""
    world = coordinator.world
    message = Recipe.parse(recipe, "recipe").to_proto()
    made = await world.compression.CreateVariant(
        compression_pb2.CreateVariantRequest(
            request_id=f"{world.model}/{recipe}",
            model=common_pb2.ModelRef(uri=world.model),
            recipe=message,
        ),
        None,
    )
    made_id = made.variant.meta.id
    await until(lambda: world.compression.variants[made_id].meta.state in FINAL)
    return made_id


GPTQ = {"gptq": {"bits": 3}}
LABEL = "gptq-3bit-g128"


async def asked(coordinator, request_id="", **fields) -> pb.CreateCanaryRequest:
    given = {
        "variant": await variant(coordinator, GPTQ),
        "reference": await variant(coordinator, "dense"),
        "prompts_uri": "/prompts/my.jsonl",
    }
    return pb.CreateCanaryRequest(request_id=request_id, spec=pb.CanarySpec(**given | fields))


async def create(coordinator, **fields) -> pb.Canary:
    request = await asked(coordinator, **fields)
    return (await coordinator.call("CreateCanary", request)).canary


async def get(coordinator, canary_id: str) -> pb.Canary:
    return (await coordinator.call("GetCanary", pb.GetCanaryRequest(id=canary_id))).canary


async def finished(coordinator, canary_id: str, states=FINAL) -> pb.Canary:
    async with asyncio.timeout(90):
        while True:
            canary = await get(coordinator, canary_id)
            if canary.meta.state in states:
                return canary
            await asyncio.sleep(0.1)


async def report(coordinator, canary_id: str, form: str) -> str:
    request = pb.DownloadReportRequest(study_id=canary_id, format=form)
    pieces = [p.chunk async for p in stream(coordinator.stub.DownloadReport, request)]
    return b"".join(pieces).decode()


def by_name(canary: pb.Canary) -> dict[str, pb.CanaryMeasure]:
    return {measure.name: measure for measure in canary.measures}


async def test_a_variant_that_refuses_more_fails_its_limit_and_the_report_says_so(coordinator):
    world = coordinator.world
    world.evaluators["canary"].accuracy[world.artifact(world.model, LABEL)] = 0.3
    gate = pb.CanaryGate(max_refusal_shift=0.05, max_latency_shift=0.5)
    created = await create(coordinator, gate=gate, arrival_rate=50.0, max_tokens=64, seed=7)
    canary = await finished(coordinator, created.meta.id)
    assert canary.meta.state == S.STATE_SUCCEEDED, canary.meta.error
    found = by_name(canary)
    assert found["refusal_shift"].value > 0.3
    assert found["refusal_shift"].verdict == FAIL
    assert found["latency_shift"].verdict == PASS
    assert canary.gate_result.verdict == FAIL
    assert canary.headline.startswith(f"Do not ship {LABEL}: refusal shift +")
    assert (canary.reference.prompts, canary.variant.prompts) == (PROMPTS, PROMPTS)
    assert canary.variant.refused > canary.reference.refused
    assert canary.variant.latency_p50.ToMilliseconds() == 230
    assert canary.artifact_digest == world.artifact(world.model, LABEL)
    assert canary.reference_digest == world.artifact(world.model, "dense")
    (comparison,) = [c for c in canary.comparisons if not c.scenario]
    assert (comparison.dimension, comparison.n_pairs) == ("canary", PROMPTS)
    html = await report(coordinator, canary.meta.id, "html")
    assert canary.report_uri.endswith("report.html")
    assert '<section id="canary"' in html
    assert "50 requests/s as a Poisson process, 64 tokens at most" in html
    document = json.loads(await report(coordinator, canary.meta.id, "json"))
    assert document["canary"]["variant"]["prompts"] == PROMPTS
    rows = csv.DictReader((await report(coordinator, canary.meta.id, "csv")).splitlines())
    (row,) = [each for each in rows if each["metric"] == "refusal_shift"]
    assert float(row["difference"]) == pytest.approx(100 * found["refusal_shift"].value)
    assert row["verdict"] == "fail"


async def test_both_sides_are_replayed_under_one_load_each_in_a_run_of_its_own(coordinator):
    created = await create(coordinator, concurrency=3, temperature=0.5, seed=11, row_limit=20)
    await finished(coordinator, created.meta.id)
    specs = [
        each.spec
        for each in coordinator.world.evaluators["canary"].evaluations.values()
        if each.spec.replay.run.startswith(created.meta.id)
    ]
    runs = [spec.replay.run for spec in specs]
    assert len(runs) == len(set(runs)) == 2
    for spec in specs:
        assert (spec.replay.concurrency, spec.replay.temperature) == (3, 0.5)
        assert (spec.seed, spec.row_limit, spec.replay.max_tokens) == (11, 20, 128)


async def test_the_sides_come_one_after_the_other(coordinator):
    world = coordinator.world
    reference = world.artifact(world.model, "dense")
    world.evaluators["canary"].gate.hold(reference)
    created = await create(coordinator)
    generated = world.evaluators["canary"].generated
    await until(lambda: any(artifact == reference for artifact, *_ in generated))
    await asyncio.sleep(0.5)
    assert not any(a == world.artifact(world.model, LABEL) for a, *_ in generated)
    world.open()
    assert (await finished(coordinator, created.meta.id)).meta.state == S.STATE_SUCCEEDED


async def test_a_variant_against_itself_agrees(coordinator):
    dense = await variant(coordinator, "dense")
    created = await create(
        coordinator, variant=dense, gate=pb.CanaryGate(min_agreement=0.9, max_refusal_shift=0.1)
    )
    canary = await finished(coordinator, created.meta.id)
    assert by_name(canary)["agreement"].value == 1.0
    assert "latency_shift" not in by_name(canary)
    html = await report(coordinator, canary.meta.id, "html")
    assert "their latencies do not compare" in html
    assert canary.variant.key == f"{canary.reference.key} (variant)"
    assert canary.gate_result.verdict == PASS


async def test_variants_are_named_by_id_digest_study_or_endpoint(coordinator):
    world = coordinator.world
    await variant(coordinator, GPTQ)
    digest = world.artifact(world.model, LABEL)
    one = await create(coordinator, variant=digest, reference="endpoint:partner-a")
    assert one.spec.reference == "endpoint:partner-a"
    old = await asked(coordinator)
    old.spec.ClearField("variant")
    old.artifact_digest = digest
    two = (await coordinator.call("CreateCanary", old)).canary
    assert two.spec.variant == one.spec.variant
    for each in (one, two):
        done = await finished(coordinator, each.meta.id)
        assert done.meta.state == S.STATE_SUCCEEDED, done.meta.error


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"variant": "no-such"}, "spec.variant"),
        ({"reference": "sha256:" + "0" * 64}, "spec.reference"),
        ({"variant": "endpoint:nobody"}, "spec.models"),
        ({"prompts_uri": ""}, "spec.prompts_uri"),
        ({"arrival_rate": 2.0, "concurrency": 2}, "spec.concurrency"),
    ],
)
async def test_what_cannot_be_replayed_is_refused_by_field(coordinator, fields, field):
    request = await asked(coordinator, **fields)
    with pytest.raises(InvalidArgument) as refused:
        await coordinator.call("CreateCanary", request)
    assert field in str(refused.value.field) + str(refused.value.violations)
    assert refused.value.remedy or refused.value.violations


async def test_a_variant_that_failed_has_nothing_to_replay_with(coordinator):
    coordinator.world.compression.failing.add(LABEL)
    request = await asked(coordinator)
    with pytest.raises(FailedPrecondition, match="no artifact"):
        await coordinator.call("CreateCanary", request)


async def test_a_broken_prompt_refuses_the_canary(coordinator):
    coordinator.world.evaluators["canary"].broken = "my.jsonl:3"
    request = await asked(coordinator)
    with pytest.raises(InvalidArgument, match="text: missing"):
        await coordinator.call("CreateCanary", request)


async def test_the_same_request_is_the_same_canary_and_lists_have_it(coordinator):
    request = await asked(coordinator, request_id=f"once-{coordinator.world.model}")
    one = (await coordinator.call("CreateCanary", request)).canary
    two = (await coordinator.call("CreateCanary", request)).canary
    assert one.meta.id == two.meta.id
    listed = await coordinator.call("ListCanaries", pb.ListCanariesRequest())
    assert one.meta.id in [each.meta.id for each in listed.canaries]
    studies = await coordinator.call("ListStudies", pb.ListStudiesRequest())
    assert not studies.studies
    await finished(coordinator, one.meta.id)


async def test_a_cancelled_canary_gives_its_lease_back_and_goes_on_where_it_was(coordinator):
    world = coordinator.world
    evaluator = world.evaluators["canary"]
    world.hold(LABEL)
    created = await create(coordinator)
    label = world.artifact(world.model, LABEL)
    await until(lambda: sum(row[0] == label for row in evaluator.generated) >= PROMPTS / 2)
    await coordinator.call("CancelCanary", pb.CancelCanaryRequest(id=created.meta.id))
    cancelled = await finished(coordinator, created.meta.id)
    assert cancelled.meta.state == S.STATE_CANCELLED
    assert not world.serving.held()
    world.open()
    await coordinator.call("ResumeCanary", pb.ResumeCanaryRequest(id=created.meta.id))
    done = await finished(coordinator, created.meta.id, (S.STATE_SUCCEEDED,))
    assert done.measures
    ours = [row for row in evaluator.generated if row[0] == label]
    assert len(ours) == len(set(ours)) == PROMPTS


async def test_a_killed_coordinator_goes_on_and_repeats_nothing(coordinator):
    world = coordinator.world
    world.hold(LABEL)
    created = await create(coordinator)
    label = world.artifact(world.model, LABEL)
    evaluator = world.evaluators["canary"]
    await until(lambda: sum(row[0] == label for row in evaluator.generated) >= PROMPTS / 2)
    coordinator.kill()
    world.open()
    await coordinator.start()
    done = await finished(coordinator, created.meta.id)
    assert done.meta.state == S.STATE_SUCCEEDED, done.meta.error
    mine = {world.artifact(world.model, each) for each in (LABEL, "dense")}
    rows = [row for row in evaluator.generated if row[0] in mine]
    assert len(rows) == len(set(rows)) == 2 * PROMPTS


async def test_a_watch_ends_with_the_canary(coordinator):
    world = coordinator.world
    world.hold(LABEL)
    created = await create(coordinator)
    request = pb.WatchCanaryRequest(id=created.meta.id)
    seen = []
    async for update in stream(coordinator.stub.WatchCanary, request, timeout=120):
        seen.append(update)
        world.open()
    assert seen[-1].canary.meta.state == S.STATE_SUCCEEDED
    assert [each.name for each in seen[-1].canary.measures]
    # What happened before it began is not told again.
    assert seen[-1].event == seen[-1].canary.headline


async def test_what_is_not_there_is_not_found(coordinator):
    for method, request in (
        ("GetCanary", pb.GetCanaryRequest(id="canary-none")),
        ("GetReport", pb.GetReportRequest(study_id="canary-none")),
    ):
        with pytest.raises(NotFound, match="no canary with this id"):
            await call(getattr(coordinator.stub, method), request)
