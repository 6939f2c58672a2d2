"""`assay gate`, `compare`, `leaderboard`, `evidence`: what they ask, print and end with."""

import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import grpc
import pytest

from assay_core.pb import (
    common_pb2,
    comparison_pb2,
    coordination_pb2,
    evaluation_pb2,
    evaluation_pb2_grpc,
)
from assay_core.recipes import Recipe


def result(verdict: Any) -> coordination_pb2.EvaluateGateResponse:
    check = comparison_pb2.GateCheck(name="ethics", verdict=verdict, detail="ethics -6.1")
    variant = comparison_pb2.VariantGateResult(
        variant_key="demo/x/seed0", verdict=verdict, reasons=["ethics -6.1"], checks=[check]
    )
    gate = comparison_pb2.GateResult(verdict=verdict, headline="Do not ship x.", variants=[variant])
    return coordination_pb2.EvaluateGateResponse(result=gate)


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (comparison_pb2.VERDICT_PASS, 0),
        (comparison_pb2.VERDICT_FAIL, 1),
        (comparison_pb2.VERDICT_INCONCLUSIVE, 3),
    ],
)
def test_a_gate_writes_junit_and_markdown_and_ends_with_its_verdict(
    assay: Any, coordinator: Any, tmp_path: Any, verdict: Any, code: int
) -> None:
    coordinator.answers["EvaluateGate"] = result(verdict)
    junit, markdown = tmp_path / "build" / "gate.xml", tmp_path / "summary.md"
    ran = assay("gate", "study-1", "--junit", junit, "--markdown", markdown)
    assert ran.code == code
    (suite,) = ET.parse(junit).getroot()  # noqa: S314 - what we have just written
    assert suite.get("name") == "demo/x/seed0"
    assert "Do not ship x." in markdown.read_text()


def test_a_gate_policy_with_a_mistake_is_wrong_use(
    assay: Any, coordinator: Any, tmp_path: Any
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("default_margin: 2\nrules: [{dimension: ethics, marign: 3}]\n")
    ran = assay("gate", "study-1", "-f", policy)
    assert ran.code == 2
    assert "marign" in ran.err
    assert coordinator.requests == []


def test_compare_names_study_variant_and_reference(assay: Any, coordinator: Any) -> None:
    found = comparison_pb2.Comparison(
        dimension="ethics", parser_version="assay-2026", difference=-6.0, interval_low=-8.0,
        interval_high=-4.0, n_pairs=120, flip_rate=0.125, verdict=comparison_pb2.VERDICT_FAIL,
    )  # fmt: skip
    coordinator.answers["CompareVariants"] = coordination_pb2.CompareVariantsResponse(
        comparisons=[found]
    )
    ran = assay("compare", "study-1:demo/a/seed0", "study-2:demo/b/seed0")
    assert ran.code == 0, ran.err
    assert "-6.0 [-8.0, -4.0]" in ran.out
    assert "12.5 %" in ran.out
    request = coordinator.requests[0]
    assert (request.study_id, request.variant_key) == ("study-1", "demo/a/seed0")
    assert (request.reference_study_id, request.reference_key) == ("study-2", "demo/b/seed0")
    assay("compare", "study-1:demo/a/seed0", "demo/b/seed0")
    assert coordinator.requests[1].reference_study_id == ""
    assert assay("compare", "demo/a/seed0", "demo/b/seed0").code == 2
    for reference in ("demo/wanda-2:4/seed0", "study-2:demo/wanda-2:4/seed0"):
        assay("compare", "study-1:demo/wanda-2:4/seed0", reference)
        assert coordinator.requests[-1].variant_key == "demo/wanda-2:4/seed0"
        assert coordinator.requests[-1].reference_key == "demo/wanda-2:4/seed0"
    assert [each.reference_study_id for each in coordinator.requests[-2:]] == ["", "study-2"]


def test_the_leaderboard_shows_rank_and_scores(assay: Any, coordinator: Any) -> None:
    entry = coordination_pb2.LeaderboardEntry(
        rank=1, model="demo", label="gptq-4bit-g128", scores={"ethics": 81.25}, value=81.25
    )
    coordinator.answers["ListLeaderboard"] = coordination_pb2.ListLeaderboardResponse(
        entries=[entry]
    )
    ran = assay("leaderboard", "--dimension", "ethics")
    assert "gptq-4bit-g128" in ran.out
    assert "81.2" in ran.out
    assert coordinator.requests[0].dimension == "ethics"


def test_evidence_holds_study_policy_and_report_and_is_sound(
    assay: Any, coordinator: Any, tmp_path: Any
) -> None:
    spec = coordination_pb2.StudySpec(
        name="s",
        models=[common_pb2.ModelRef(uri="demo")],
        recipes=[Recipe.parse("dense").to_proto()],
        dimensions=["ethics"],
        pack=evaluation_pb2.PackRef(uri="demo"),
        gate=comparison_pb2.GatePolicy(default_margin=3),
    )
    study = coordination_pb2.Study(spec=spec)
    study.meta.id = "study-1"
    coordinator.answers |= {
        "GetStudy": coordination_pb2.GetStudyResponse(study=study),
        "GetServerInfo": coordination_pb2.GetServerInfoResponse(),
        "GetReport": coordination_pb2.GetReportResponse(
            files=[coordination_pb2.ReportFile(format="csv", uri="file:///r/report.csv")]
        ),
        "DownloadReport": [coordination_pb2.DownloadReportResponse(chunk=b"a,b\n")],
    }
    target = tmp_path / "e.zip"
    ran = assay("evidence", "study-1", "-o", target)
    assert ran.code == 0, ran.err
    with zipfile.ZipFile(target) as archive:
        assert set(archive.namelist()) == {
            "manifest.json", "policy.json", "report/report.csv", "server.json", "study.json",
        }  # fmt: skip
        assert archive.read("report/report.csv") == b"a,b\n"
    assert assay("verify", target).code == 0


def test_examples_asks_for_texts_and_writes_the_file_whole(
    assay: Any, coordinator: Any, tmp_path: Any
) -> None:
    pieces = [coordination_pb2.DownloadReportResponse(chunk=part) for part in (b"<p>", b"a</p>")]
    coordinator.answers["DownloadReport"] = pieces
    target = tmp_path / "out" / "examples.html"
    ran = assay("examples", "study-1", "-o", target)
    assert ran.code == 0, ran.err
    assert target.read_bytes() == b"<p>a</p>"
    assert [each.name for each in target.parent.iterdir()] == ["examples.html"]
    assert coordinator.requests[0].include_examples
    assert coordinator.requests[0].format == "html"


@pytest.mark.parametrize("here", [True, False])
def test_report_open_shows_the_file_that_is_here_or_fetches_it(
    assay: Any, coordinator: Any, tmp_path: Any, monkeypatch: Any, here: bool
) -> None:
    shown: list[str] = []
    monkeypatch.setattr("typer.launch", shown.append)
    stored = tmp_path / "report.html"
    if here:
        stored.write_text("<p>stored</p>")
    coordinator.answers |= {
        "GetReport": coordination_pb2.GetReportResponse(
            headline="Do not ship.",
            files=[coordination_pb2.ReportFile(format="html", uri=stored.as_uri())],
        ),
        "DownloadReport": [coordination_pb2.DownloadReportResponse(chunk=b"<p>fetched</p>")],
    }
    ran = assay("report", "study-1", "--open")
    assert ran.code == 0, ran.err
    assert "Do not ship." in ran.out
    (opened,) = shown
    assert Path(opened).read_text() == ("<p>stored</p>" if here else "<p>fetched</p>")
    assert (opened == str(stored)) is here


class PagedExamples(evaluation_pb2_grpc.EvaluationServiceServicer):
    """Two pages of completions of whatever sample is asked for."""

    def ListExamples(self, request: Any, context: Any) -> evaluation_pb2.ListExamplesResponse:
        start = int(request.options.page_token or 0)
        completions = [
            evaluation_pb2.Example(
                scenario="benign", sample_id=request.sample_ids[0], completion_index=index
            )
            for index in range(start, min(start + 20, 25))
        ]
        token = "20" if start == 0 else ""
        return evaluation_pb2.ListExamplesResponse(examples=completions, next_page_token=token)


def test_explain_shows_every_completion_of_a_sample(
    assay: Any, coordinator: Any, monkeypatch: Any
) -> None:
    server = grpc.server(ThreadPoolExecutor(2))
    evaluation_pb2_grpc.add_EvaluationServiceServicer_to_server(PagedExamples(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("ASSAY_CLI_EVALUATORS", json.dumps({"stereotype": f"127.0.0.1:{port}"}))
    evaluation = coordination_pb2.StudyEvaluation(dimension="stereotype", evaluation_id="e")
    study = coordination_pb2.Study(
        spec=coordination_pb2.StudySpec(dimensions=["stereotype"]),
        variants=[coordination_pb2.StudyVariant(key="demo/dense/seed0", evaluations=[evaluation])],
    )
    coordinator.answers["GetStudy"] = coordination_pb2.GetStudyResponse(study=study)
    try:
        ran = assay("explain", "study-1", "s1", "--json")
    finally:
        server.stop(None)
    assert [each["completion"] for each in ran.document["examples"]] == list(range(25))
