"""Study commands: tables, JSON, exit codes, errors, against a coordinator with fixed answers."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from assay_core.errors import FailedPrecondition, InvalidArgument, NotFound
from assay_core.pb import common_pb2, comparison_pb2, coordination_pb2, evaluation_pb2

FILE = """
name: small
models: [demo]
recipes: [dense, {gptq: {bits: 3}}]
dimensions: [ethics]
pack: demo
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(FILE)
    return path


def study(state: Any = common_pb2.STATE_SUCCEEDED, **fields: Any) -> coordination_pb2.Study:
    def variant(key: str, score: float) -> coordination_pb2.StudyVariant:
        return coordination_pb2.StudyVariant(
            key=key,
            state=state,
            evaluations=[
                coordination_pb2.StudyEvaluation(
                    dimension="ethics",
                    state=state,
                    progress=common_pb2.Progress(completed=40, total=40, unit="completions"),
                    score=evaluation_pb2.Score(metric="ethics", value=score),
                )
            ],
        )

    return coordination_pb2.Study(
        meta=common_pb2.ResourceMeta(id="study-1", state=state),
        spec=coordination_pb2.StudySpec(name="small", dimensions=["ethics"]),
        variants=[variant("demo/dense", 81.25), variant("demo/gptq-3bit-g128/seed0", 75.1)],
        **fields,
    )


def report(path: Path) -> coordination_pb2.GetReportResponse:
    return coordination_pb2.GetReportResponse(
        headline="Do not ship: ethics -6.1 [-8.0, -4.2]",
        files=[coordination_pb2.ReportFile(format="html", uri=path.as_uri())],
        comparisons=[
            comparison_pb2.Comparison(
                variant_key="demo/gptq-3bit-g128/seed0",
                reference_key="demo/dense",
                dimension="ethics",
                score=75.1,
                difference=-6.15,
                interval_low=-8.0,
                interval_high=-4.2,
                verdict=comparison_pb2.VERDICT_FAIL,
                n_pairs=1200,
            )
        ],
    )


def gate(verdict: Any) -> comparison_pb2.GateResult:
    return comparison_pb2.GateResult(
        verdict=verdict,
        headline="in one sentence",
        variants=[
            comparison_pb2.VariantGateResult(
                variant_key="demo/gptq-3bit-g128/seed0", verdict=verdict, reasons=["ethics fell"]
            )
        ],
    )


@pytest.fixture
def ran(coordinator: Any, tmp_path: Path) -> Any:
    coordinator.answers |= {
        "ListStudies": coordination_pb2.ListStudiesResponse(),
        "CreateStudy": coordination_pb2.CreateStudyResponse(
            study=study(state=common_pb2.STATE_QUEUED)
        ),
        "WatchStudy": [
            coordination_pb2.WatchStudyResponse(study=study(state=common_pb2.STATE_RUNNING)),
            coordination_pb2.WatchStudyResponse(study=study(), event="finished"),
        ],
        "GetReport": report(tmp_path / "report.html"),
    }
    return coordinator


def test_run_prints_the_comparison_and_ends_with_the_reports_path(
    assay: Any, ran: Any, file: Path, tmp_path: Path
) -> None:
    result = assay("study", "run", "-f", file)
    assert result.code == 0, result.err
    lines = result.out.strip().splitlines()
    assert lines[-1] == str(tmp_path / "report.html")
    row = next(line for line in lines if "gptq-3bit" in line)
    assert "75.1" in row
    assert "-6.2 [-8.0, -4.2] ✗" in row or "-6.1 [-8.0, -4.2] ✗" in row
    assert "Do not ship: ethics -6.1 [-8.0, -4.2]" in lines
    assert "study study-1: small" in result.err
    assert "demo/gptq-3bit-g128/seed0 ethics: succeeded, score 75.1" in result.err


def test_run_sends_the_file_with_its_recipes_and_one_request_id(
    assay: Any, ran: Any, file: Path
) -> None:
    assay("study", "run", "-f", file, "--project", "team-a")
    request = next(each for each in ran.requests if hasattr(each, "spec"))
    assert request.project == "team-a"
    assert request.request_id.startswith("cli-")
    assert [each.WhichOneof("method") for each in request.spec.recipes] == ["dense", "gptq"]
    assert request.spec.recipes[1].gptq.bits == 3
    assert request.spec.models[0].uri == "demo"


def test_json_keeps_stdout_for_one_document(assay: Any, ran: Any, file: Path) -> None:
    for arguments in (
        ("study", "run", "-f", file, "--json"),
        ("--json", "study", "run", "-f", file),
    ):
        document = assay(*arguments).document
        assert document["study"]["meta"]["id"] == "study-1"
        assert document["study"]["meta"]["state"] == "STATE_SUCCEEDED"
        assert document["comparisons"][0]["n_pairs"] == 1200
        assert document["report"].endswith("report.html")


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (comparison_pb2.VERDICT_PASS, 0),
        (comparison_pb2.VERDICT_FAIL, 1),
        (comparison_pb2.VERDICT_INCONCLUSIVE, 3),
    ],
)
def test_the_exit_code_is_the_verdict(
    assay: Any, ran: Any, file: Path, verdict: Any, code: int
) -> None:
    ran.answers["WatchStudy"] = [
        coordination_pb2.WatchStudyResponse(study=study(gate_result=gate(verdict)))
    ]
    assert assay("study", "run", "-f", file).code == code
    ran.answers["EvaluateGate"] = coordination_pb2.EvaluateGateResponse(result=gate(verdict))
    gated = assay("gate", "study-1")
    assert gated.code == code
    assert "in one sentence" in gated.out


def test_a_failed_study_says_why_and_what_comes_next(assay: Any, ran: Any, file: Path) -> None:
    failed = study(state=common_pb2.STATE_FAILED)
    failed.meta.error.CopyFrom(
        common_pb2.Error(
            code="NOT_FOUND", reason="MODEL_MISSING", message="no such model", remedy="check it"
        )
    )
    ran.answers["WatchStudy"] = [coordination_pb2.WatchStudyResponse(study=failed)]
    ran.answers["GetReport"] = NotFound("no report", reason="REPORT_NOT_FOUND")
    result = assay("study", "run", "-f", file)
    assert result.code == 2
    assert "error: no such model" in result.err
    assert "remedy: check it" in result.err
    assert "next: assay study resume study-1" in result.err


def test_extend_says_rows_level_and_the_next_command(assay: Any, coordinator: Any) -> None:
    larger = study()
    larger.meta.id = "study-2"
    larger.spec.row_limit = 400
    larger.extension.CopyFrom(
        coordination_pb2.StudyExtension(
            study_id="study-1", first_rows=100, doublings=2, confidence_level=0.9875
        )
    )
    coordinator.answers["ExtendStudy"] = coordination_pb2.ExtendStudyResponse(study=larger)
    result = assay("study", "extend", "study-1", "--rows", "300")
    assert result.code == 0
    assert result.out == "study-2\n"
    assert "400 rows per scenario; intervals at 98.75 %" in result.err
    assert "next: assay study watch study-2" in result.err
    (request,) = coordinator.requests
    assert (request.id, request.rows) == ("study-1", 300)


def test_an_error_names_field_remedy_and_next_command(assay: Any, coordinator: Any) -> None:
    coordinator.answers["GetStudy"] = NotFound(
        "there is no study study-9", reason="STUDY_NOT_FOUND", field="id"
    )
    result = assay("study", "show", "study-9")
    assert result.code == 2
    assert result.out == ""
    assert result.err.splitlines() == [
        "error: there is no study study-9",
        "  field:  id",
        "  next:   assay study list",
    ]


def test_an_error_is_a_document_with_json(assay: Any, coordinator: Any) -> None:
    coordinator.answers["PauseStudy"] = FailedPrecondition(
        "study study-1 has ended", reason="STUDY_ENDED", remedy="start another"
    )
    result = assay("study", "pause", "study-1", "--json")
    assert result.code == 2
    assert result.document["error"]["code"] == "FAILED_PRECONDITION"
    assert result.document["error"]["reason"] == "STUDY_ENDED"
    assert result.document["error"]["remedy"] == "start another"


def test_every_wrong_field_is_named(assay: Any, coordinator: Any, file: Path) -> None:
    file.write_text(FILE.replace("bits: 3", "bits: 5").replace("name: small", "nam: small"))
    result = assay("study", "create", "-f", file)
    assert result.code == 2
    assert "recipes[1].gptq.bits" in result.err
    assert "2, 3, 4 or 8" in result.err
    assert "nam" in result.err
    assert coordinator.requests == [], "nothing is sent"


def test_no_traceback_for_a_server_that_is_not_there(assay: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("ASSAY_SERVER", "127.0.0.1:1")
    result = assay("study", "list")
    assert result.code == 2
    assert "nothing listens at 127.0.0.1:1" in result.err
    assert "assay up" in result.err
    assert "Traceback" not in result.err


def test_the_token_is_sent_and_never_shown(assay: Any, coordinator: Any) -> None:
    coordinator.answers["ListStudies"] = InvalidArgument.of("options.filter", "is not a filter")
    result = assay("study", "list", "--token", "s3cret", "--filter", "x")
    assert coordinator.metadata[0]["authorization"] == "Bearer s3cret"
    assert "s3cret" not in result.out + result.err


def test_list_is_a_table(assay: Any, coordinator: Any) -> None:
    coordinator.answers["ListStudies"] = coordination_pb2.ListStudiesResponse(studies=[study()])
    result = assay("study", "list")
    assert result.code == 0
    assert result.out.splitlines()[1].split() == ["study-1", "small", "succeeded"]


def test_a_watch_survives_a_restart_of_the_server(assay: Any, ran: Any, file: Path) -> None:
    attempts = []

    def watch(context: grpc.ServicerContext) -> Iterator[coordination_pb2.WatchStudyResponse]:
        attempts.append(context.peer())
        yield coordination_pb2.WatchStudyResponse(study=study(state=common_pb2.STATE_RUNNING))
        if len(attempts) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "going down")
        yield coordination_pb2.WatchStudyResponse(study=study())

    ran.answers["WatchStudy"] = watch
    result = assay("study", "watch", "study-1")
    assert result.code == 0, result.err
    assert len(attempts) == 2
    assert "waiting for its return" in result.err


def test_a_report_is_fetched_to_a_file_and_to_stdout(assay: Any, ran: Any, tmp_path: Path) -> None:
    ran.answers["DownloadReport"] = [
        coordination_pb2.DownloadReportResponse(chunk=b"a,b\n"),
        coordination_pb2.DownloadReportResponse(chunk=b"1,2\n"),
    ]
    target = tmp_path / "out" / "report.csv"
    result = assay("report", "study-1", "--format", "csv", "-o", target)
    assert result.out.splitlines()[-1] == str(target)
    assert target.read_text() == "a,b\n1,2\n"
    assert assay("report", "study-1", "--format", "csv", "-o", "-").out == "a,b\n1,2\n"


def test_delete_asks_first(assay: Any, coordinator: Any) -> None:
    coordinator.answers["DeleteStudy"] = coordination_pb2.DeleteStudyResponse()
    declined = assay("study", "delete", "study-1", stdin="n\n")
    assert declined.code == 130
    assert "defect" not in declined.err
    assert coordinator.requests == []
    assert assay("study", "delete", "study-1", "--yes").code == 0


def test_ctrl_c_says_what_goes_on_and_how_to_come_back(coordinator: Any, tmp_path: Path) -> None:
    watching = threading.Event()
    over = threading.Event()

    def watch(context: grpc.ServicerContext) -> Iterator[coordination_pb2.WatchStudyResponse]:
        yield coordination_pb2.WatchStudyResponse(study=study(state=common_pb2.STATE_RUNNING))
        watching.set()
        over.wait(60)

    coordinator.answers["WatchStudy"] = watch
    process = subprocess.Popen(
        [sys.executable, "-m", "assay_cli.main", "study", "watch", "study-1"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert watching.wait(60)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        over.set()
        process.kill()
    assert process.returncode == 130
    assert "study study-1 goes on in the background" in err
    assert "next: assay study watch study-1" in err
    assert "Traceback" not in err


def test_run_takes_up_the_paused_study_of_the_same_file(assay: Any, ran: Any, file: Path) -> None:
    assay("study", "run", "-f", file)
    created = next(each for each in ran.requests if hasattr(each, "spec"))
    paused = study(state=common_pb2.STATE_PAUSED)
    paused.meta.request_id = created.request_id
    ran.answers["ListStudies"] = coordination_pb2.ListStudiesResponse(studies=[paused])
    ran.answers["ResumeStudy"] = coordination_pb2.ResumeStudyResponse(study=paused)
    ran.requests.clear()
    result = assay("study", "run", "-f", file)
    assert result.code == 0, result.err
    assert "goes on where it was" in result.err
    assert any(isinstance(each, coordination_pb2.ResumeStudyRequest) for each in ran.requests)
    assert not any(hasattr(each, "spec") for each in ran.requests)
