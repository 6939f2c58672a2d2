"""`assay canary`: what it asks, prints and ends with."""

from __future__ import annotations

from typing import Any

import pytest

from assay_core.pb import common_pb2, comparison_pb2
from assay_core.pb import coordination_pb2 as pb

PASS, FAIL = comparison_pb2.VERDICT_PASS, comparison_pb2.VERDICT_FAIL
UNDECIDED = comparison_pb2.VERDICT_INCONCLUSIVE


def canary(verdict: Any = None, state: Any = common_pb2.STATE_SUCCEEDED) -> pb.Canary:
    found = pb.Canary(
        headline="Do not ship b.",
        report_uri="file:///reports/canary-1/report.html",
        measures=[
            pb.CanaryMeasure(
                name="refusal_shift", value=0.25, interval_low=0.1, interval_high=0.4,
                limit=0.05, verdict=FAIL,
            ),
            pb.CanaryMeasure(name="agreement", value=0.5, interval_low=0.4, interval_high=0.6),
        ],
    )  # fmt: skip
    found.meta.id, found.meta.state = "canary-1", state
    for side, key in ((found.reference, "a"), (found.variant, "b")):
        side.key, side.prompts, side.refused = key, 24, 6
        side.latency_p95.FromMilliseconds(1234)
        side.tokens_per_second = 99.5
    if verdict is not None:
        found.gate_result.verdict = verdict
    return found


@pytest.fixture
def scripted(coordinator: Any) -> Any:
    def script(found: pb.Canary) -> Any:
        coordinator.answers |= {
            "CreateCanary": pb.CreateCanaryResponse(canary=found),
            "WatchCanary": [pb.WatchCanaryResponse(canary=found)],
            "GetCanary": pb.GetCanaryResponse(canary=found),
            "ResumeCanary": pb.ResumeCanaryResponse(canary=found),
            "CancelCanary": pb.CancelCanaryResponse(canary=found),
            "ListCanaries": pb.ListCanariesResponse(canaries=[found]),
        }
        return coordinator

    return script


URI = ("--prompts", "s3://bucket/my.jsonl")


@pytest.mark.parametrize(("verdict", "code"), [(None, 0), (PASS, 0), (FAIL, 1), (UNDECIDED, 3)])
def test_it_ends_with_its_verdict(assay: Any, scripted: Any, verdict: Any, code: int) -> None:
    scripted(canary(verdict))
    ran = assay("canary", "b", "a", *URI)
    assert ran.code == code
    assert "refusal shift  +25.0 % [+10.0, +40.0]  5 %    ✗" in ran.out
    assert "agreement      50.0 % [40.0, 60.0]" in ran.out
    assert "1,234 ms" in ran.out
    assert "99.5 tokens/s" in ran.out
    assert ran.out.rstrip().endswith("/reports/canary-1/report.html")


def test_it_asks_for_what_was_typed_and_sets_no_limit_unasked(assay: Any, scripted: Any) -> None:
    coordinator = scripted(canary())
    assay("canary", "b", "a", *URI, "--rate", 2.5, "--seed", 3, "--max-refusal-shift", 0)
    asked = coordinator.requests[0].spec
    assert (asked.variant, asked.reference, asked.arrival_rate, asked.seed) == ("b", "a", 2.5, 3)
    assert asked.prompts_uri == "s3://bucket/my.jsonl"
    assert [field.name for field, _ in asked.gate.ListFields()] == ["max_refusal_shift"]


def test_one_that_failed_is_an_error_with_the_next_command(assay: Any, scripted: Any) -> None:
    scripted(canary(state=common_pb2.STATE_FAILED))
    ran = assay("canary", "b", "a", *URI)
    assert ran.code == 2
    assert "next: assay canary --follow canary-1" in ran.err


def test_following_resumes_what_had_ended_early(assay: Any, scripted: Any) -> None:
    coordinator = scripted(canary(state=common_pb2.STATE_CANCELLED))
    assay("canary", "--follow", "canary-1")
    assert [type(request).__name__ for request in coordinator.requests] == [
        "GetCanaryRequest", "ResumeCanaryRequest", "WatchCanaryRequest", "GetCanaryRequest",
    ]  # fmt: skip


def test_cancel_and_list(assay: Any, scripted: Any) -> None:
    scripted(canary(FAIL))
    assert assay("canary", "--cancel", "canary-1").code == 0
    listed = assay("canaries")
    assert "Do not ship b." in listed.out
    document = assay("canary", "--follow", "canary-1", "--json").document
    assert document["canary"]["measures"][0]["name"] == "refusal_shift"


def test_a_broken_row_is_refused_here_by_line_without_its_text(
    assay: Any, coordinator: Any, tmp_path: Any
) -> None:
    file = tmp_path / "my.jsonl"
    file.write_text('{"messages": [{"role": "user", "content": "secret"}]}\n{"prompt": "secret"}\n')
    ran = assay("canary", "b", "a", "--prompts", file)
    assert ran.code == 2
    assert "my.jsonl:2: field messages" in ran.err
    assert "secret" not in ran.err + ran.out
    assert coordinator.requests == []


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((), "VARIANT"),
        (("b",), "REFERENCE"),
        (("b", "a"), "--prompts"),
        (("b", "a", "--prompts", "nowhere.jsonl"), "nowhere.jsonl"),
    ],
)
def test_what_is_missing_is_named(assay: Any, coordinator: Any, arguments: Any, names: str) -> None:
    ran = assay("canary", *arguments)
    assert ran.code == 2
    assert names in ran.err
