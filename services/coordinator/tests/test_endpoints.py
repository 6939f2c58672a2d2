"""External endpoints in studies: nothing is compressed, everything else is as for any model."""

import itertools

import pytest
from fake_peers import digest

from assay_coordinator.domain.matrix import AS_SERVED, expand
from assay_coordinator.domain.study_file import load_study
from assay_coordinator.wire.study import spec_from_message, spec_message
from assay_core.client import stream
from assay_core.errors import InvalidArgument
from assay_core.pb import common_pb2, comparison_pb2
from assay_core.pb import coordination_pb2 as pb

S = common_pb2.State
TWO = """
name: two endpoints
models: [endpoint:partner-a, endpoint:partner-b]
recipes: [dense]
dimensions: [ethics, fairness]
pack: demo
gate: {}
"""
A, B = "endpoint:partner-a/dense/seed0", "endpoint:partner-b/dense/seed0"

_numbers = itertools.count()


@pytest.fixture
def model():
    """A model of its own for each test, so that nothing of another test is found stored."""
    return f"checkpoint{next(_numbers)}"


def spec(text):
    return spec_message(load_study(text))


# -- the study file and its matrix -----------------------------------------------------------------


@pytest.mark.parametrize("recipes", ["[{gptq: {bits: 4}}]", "[dense, magnitude]"])
def test_an_endpoint_is_not_compressed(recipes):
    with pytest.raises(InvalidArgument, match="endpoint:partner-a cannot be compressed") as caught:
        load_study(TWO.replace("[dense]", recipes))
    assert [violation.field for violation in caught.value.violations] == ["recipes"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("'endpoint:'", "names no endpoint"),
        ("{uri: 'endpoint:x', revision: main}", "its name only"),
        ("{uri: 'endpoint:x', trust_remote_code: true}", "its name only"),
    ],
)
def test_a_model_entry_of_an_endpoint_is_its_name_only(entry, message):
    with pytest.raises(InvalidArgument, match=message):
        load_study(TWO.replace("endpoint:partner-a", entry))


def test_the_first_model_is_the_reference_unless_another_is_named():
    first = expand(load_study(TWO))
    assert [(v.key, v.reference_key, v.label) for v in first] == [
        (A, A, AS_SERVED),
        (B, A, AS_SERVED),
    ]
    named = expand(load_study(TWO + "reference: endpoint:partner-b\n"))
    assert [(v.key, v.reference_key) for v in named] == [(B, B), (A, B)]


def test_any_variant_can_be_the_reference_and_runs_first():
    study = load_study(
        "{name: x, models: [small, large], recipes: [{rtn: {bits: [8, 4]}}], dimensions: ethics,"
        " pack: demo, reference: large/rtn-8bit-g128/seed0}"
    )
    found = expand(study)
    assert found[0].key == "large/rtn-8bit-g128/seed0"
    assert [v.key for v in found if v.is_reference] == ["large/rtn-8bit-g128/seed0"]
    assert {v.reference_key for v in found} == {"large/rtn-8bit-g128/seed0"}
    assert len(found) == 6


def test_a_reference_that_the_study_does_not_have_is_refused_with_those_it_has():
    with pytest.raises(InvalidArgument, match=r"endpoint:partner-a/dense/seed0") as caught:
        expand(load_study(TWO + "reference: partner-c\n"))
    assert caught.value.field == "spec.reference"


def test_the_specification_survives_the_wire():
    study = load_study(TWO + "reference: endpoint:partner-b\n")
    assert spec_from_message(spec_message(study)) == study


# -- studies ---------------------------------------------------------------------------------------


@pytest.mark.asyncio(loop_scope="module")
async def test_two_endpoints_are_compared_and_gated(world, coordinator):
    for evaluator in world.evaluators.values():
        evaluator.accuracy[digest("endpoint", "partner-b")] = 0.5
    before = len(world.compression.variants)
    study = await coordinator.finished((await coordinator.create(spec(TWO))).meta.id)
    assert study.meta.state == S.STATE_SUCCEEDED
    assert [v.artifact_digest for v in study.variants] == [
        digest("endpoint", "partner-a"),
        digest("endpoint", "partner-b"),
    ]
    assert len(world.compression.variants) == before
    loaded = {request.endpoint for request in world.serving.asked if request.endpoint}
    assert loaded == {"partner-a", "partner-b"}
    assert not world.serving.held()

    answer = await coordinator.call(
        "ListComparisons", pb.ListComparisonsRequest(study_id=study.meta.id)
    )
    whole = [c for c in answer.comparisons if not c.scenario]
    assert {(c.variant_key, c.reference_key) for c in whole} == {(B, A)}
    assert {c.dimension for c in whole} == {"ethics", "fairness"}
    assert all(c.difference < -20 for c in whole)
    assert [v.variant_key for v in study.gate_result.variants] == [B]
    assert study.gate_result.verdict == comparison_pb2.VERDICT_FAIL

    request = pb.DownloadReportRequest(study_id=study.meta.id, format="html")
    parts = [part.chunk async for part in stream(coordinator.stub.DownloadReport, request)]
    html = b"".join(parts).decode()
    assert "endpoint:partner-b" in html
    assert AS_SERVED in html


@pytest.mark.asyncio(loop_scope="module")
async def test_an_endpoint_is_compared_with_a_checkpoint(world, coordinator, model):
    text = TWO.replace("endpoint:partner-a", model).replace("partner-b", "partner-a")
    study = await coordinator.finished((await coordinator.create(spec(text))).meta.id)
    assert study.meta.state == S.STATE_SUCCEEDED
    answer = await coordinator.call(
        "ListComparisons", pb.ListComparisonsRequest(study_id=study.meta.id)
    )
    pairs = {(c.variant_key, c.reference_key) for c in answer.comparisons}
    assert pairs == {(A, f"{model}/dense/seed0")}
    # Engine and tokenizer differ from ours, or are not known: said with every number.
    whole = [c for c in answer.comparisons if not c.scenario]
    assert all(any("confounded: family" in note for note in c.notes) for c in whole)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("method", ["CreateStudy", "PlanStudy"])
async def test_an_unknown_endpoint_is_refused_at_once_with_those_there_are(
    world, coordinator, method
):
    unknown = spec(TWO.replace("partner-b", "partner-z"))
    with pytest.raises(InvalidArgument, match="partner-z") as caught:
        await coordinator.call(method, getattr(pb, f"{method}Request")(spec=unknown))
    assert caught.value.reason == "UNKNOWN_ENDPOINT"
    assert "partner-a, partner-b" in caught.value.remedy


@pytest.mark.asyncio(loop_scope="module")
async def test_a_plan_with_endpoints_has_nothing_to_make(world, coordinator):
    plan = await coordinator.call("PlanStudy", pb.PlanStudyRequest(spec=spec(TWO)))
    assert [(v.key, v.artifact_exists) for v in plan.variants] == [(A, True), (B, True)]
