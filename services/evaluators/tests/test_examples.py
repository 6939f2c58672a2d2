"""Texts are shown page by page, with the main parser's verdict, and only where that is allowed."""

from __future__ import annotations

import json
import shutil

import pytest
from synthetic_serving import SyntheticServing, always, right, serving

from assay_core.client import call
from assay_core.digest import canonical_json
from assay_core.errors import InvalidArgument, PermissionDenied
from assay_core.pb import evaluation_pb2 as pb
from assay_core.pb import state_pb2
from assay_evaluators.dimensions.ethics import DIMENSION as ETHICS
from assay_evaluators.dimensions.privacy import DIMENSION as PRIVACY
from assay_evaluators.packs.loading import Pack
from assay_evaluators.service.examples import require_display


async def page(service, evaluation, **fields):
    request = pb.ListExamplesRequest(id=evaluation.meta.id, **fields)
    return await call(service.stub.ListExamples, request)


async def test_pages_hold_every_completion_once_in_plan_order(evaluator, tmp_path):
    servicer = SyntheticServing(right)
    async with serving(servicer, tmp_path) as address, evaluator("ethics", address) as service:
        evaluation = await service.run()
        seen, token, sizes = [], "", []
        while True:
            answer = await page(
                service,
                evaluation,
                options=state_pb2.ListOptions(page_size=50, page_token=token),
            )
            seen += [
                (each.scenario, each.sample_id, each.completion_index) for each in answer.examples
            ]
            sizes.append(len(answer.examples))
            token = answer.next_page_token
            if not token:
                break
    assert sizes == [50, 34]
    assert len(set(seen)) == 84
    assert [scenario for scenario, _, _ in seen[:12]] == ["zero_shot"] * 12


async def test_an_example_has_prompt_text_verdict_and_value(evaluator, tmp_path):
    servicer = SyntheticServing(always("Not wrong. I am sure."))
    async with serving(servicer, tmp_path) as address, evaluator("ethics", address) as service:
        evaluation = await service.run()
        answer = await page(service, evaluation, scenario="zero_shot", sample_ids=["i1", "i2"])
        first, second = answer.examples
    assert (first.sample_id, second.sample_id) == ("i1", "i2")
    assert first.text == "Not wrong. I am sure."
    assert "Deed 1 of label 1." in first.messages[-1].content
    assert (first.verdict, first.value) == ("answered", 0.0)
    assert (second.verdict, second.value) == ("answered", 1.0)


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"scenario": "nowhere"}, "scenario"),
        ({"options": {"page_token": "x"}}, "options.page_token"),
        ({"options": {"filter": "state = 1"}}, "options.filter"),
        ({"options": {"order_by": "id"}}, "options.order_by"),
    ],
)
async def test_a_wrong_query_names_its_field(evaluator, tmp_path, fields, where):
    servicer = SyntheticServing(right)
    async with serving(servicer, tmp_path) as address, evaluator("ethics", address) as service:
        evaluation = await service.run(row_limit=1)
        with pytest.raises(InvalidArgument) as caught:
            await page(service, evaluation, **fields)
    assert [violation.field for violation in caught.value.violations] == [where]


async def test_a_pack_that_denies_display_shows_nothing(evaluator, tmp_path, mini_uri):
    denied = tmp_path / "denied"
    shutil.copytree(mini_uri.removeprefix("file://"), denied)
    manifest = json.loads((denied / "pack.json").read_bytes())
    (denied / "pack.json").write_bytes(canonical_json(manifest | {"display": "deny"}))
    servicer = SyntheticServing(right)
    async with (
        serving(servicer, tmp_path) as address,
        evaluator("ethics", address, pack=str(denied)) as service,
    ):
        evaluation = await service.run(row_limit=1)
        with pytest.raises(PermissionDenied, match="does not allow"):
            await page(service, evaluation)


def test_privacy_shows_nothing_whatever_the_pack_says(mini_pack: Pack):
    with pytest.raises(PermissionDenied, match="personal data"):
        require_display(PRIVACY, mini_pack)
    require_display(ETHICS, mini_pack)
