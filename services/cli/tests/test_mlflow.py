"""`assay export mlflow`: what is logged, to a database and to a tracking server (`make test-mlflow`
has both), and what is said without MLflow.
"""

import http.client
import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.domain.progress import MeasuredServing
from assay_coordinator.report.model import Fact, ReportData, ReportScore, ReportVariant
from assay_coordinator.report.tabular import render_json
from assay_coordinator.statistics.decision import Verdict
from assay_core.pb import coordination_pb2

SERVER = Path(__file__).resolve().parents[3] / ".venvs" / "mlflow-server" / "bin" / "mlflow"
DENSE, SMALL = "demo/dense/seed0", "demo/gptq-3bit-g128/seed0"


def report() -> ReportData:
    scores = [
        ReportScore(
            variant_key=key, dimension="ethics", metric="ethics", parser_version="assay-2026",
            value=value, interval_low=value - 4, interval_high=value + 4, completions=100,
            refused=6,
        )
        for key, value in ((DENSE, 80.0), (SMALL, 73.9))
    ]  # fmt: skip
    measured = MeasuredServing(
        ttft_p50_seconds=0.1, ttft_p95_seconds=0.2, tokens_per_second=500, memory_bytes=1 << 30
    )
    return ReportData(
        study_id="study-1", study_name="small", state="SUCCEEDED", headline="Do not ship.",
        generated_at=datetime(2026, 1, 1, tzinfo=UTC), dimensions=("ethics",),
        parser_version="assay-2026", scores=tuple(scores),
        variants=(
            ReportVariant(key=DENSE, model="demo", label="dense", method="dense", state="SUCCEEDED",
                          is_reference=True),
            ReportVariant(key=SMALL, model="demo", label="gptq-3bit-g128", method="gptq",
                          state="SUCCEEDED", bits_per_weight=3.25, measured=measured),
        ),
        comparisons=(
            Comparison(variant_key=SMALL, reference_key=DENSE, dimension="ethics", metric="ethics",
                       parser_version="assay-2026", difference=-6.1, interval_low=-8.1,
                       interval_high=-4.1, verdict=Verdict.FAIL),
        ),
        provenance=(Fact(name="Data pack", value="demo"),),
    )  # fmt: skip


@pytest.fixture
def study(coordinator: Any) -> Any:
    """A coordinator with the report of one study."""
    contents = {"json": render_json(report()), "html": b"<p>report</p>"}
    coordinator.answers["GetReport"] = coordination_pb2.GetReportResponse(
        files=[
            coordination_pb2.ReportFile(format=form, uri=f"file:///r/report.{form}")
            for form in contents
        ]
    )
    # The last request says which file is wanted.
    coordinator.answers["DownloadReport"] = lambda _: iter(
        [coordination_pb2.DownloadReportResponse(chunk=contents[coordinator.requests[-1].format])]
    )
    return coordinator


def absent(what: str) -> None:
    """Skip, or fail where it is required."""
    if "mlflow" in os.environ.get("ASSAY_REQUIRE", "").split(","):
        pytest.fail(f"ASSAY_REQUIRE=mlflow, and {what}")
    pytest.skip(what)


@pytest.fixture
def mlflow() -> Any:
    if importlib.util.find_spec("mlflow") is None:
        absent("MLflow is an extra: make mlflow")
    import mlflow

    return mlflow


@pytest.fixture(scope="session")
def tracking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real tracking server."""
    if not SERVER.exists():
        absent("there is no tracking server: make test-mlflow installs one")
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(SERVER), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/m.db", "--artifacts-destination", str(folder),
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        wait_for(port, process, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 180
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health")
            assert connection.getresponse().status == 200
            return
        except OSError:
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        finally:
            connection.close()


@pytest.fixture(params=["database", "server"])
def store(mlflow: Any, request: Any, tmp_path: Path, monkeypatch: Any) -> str:
    """Tracking URI of an empty store."""
    monkeypatch.chdir(tmp_path)  # a database keeps its artifacts beside
    if request.param == "server":
        return str(request.getfixturevalue("tracking_server"))
    return f"sqlite:///{tmp_path}/m.db"


def test_a_study_is_a_run_with_its_report_and_each_variant_a_nested_one(
    assay: Any, study: Any, mlflow: Any, store: str
) -> None:
    ran = assay("export", "mlflow", "study-1", "--tracking-uri", store, "--json")
    assert ran.code == 0, ran.err
    client = mlflow.MlflowClient(tracking_uri=store)
    parent = client.get_run(ran.document["run"])
    assert parent.info.run_name == "small"
    assert parent.data.params["data_pack"] == "demo"
    assert parent.data.tags["assay.headline"] == "Do not ship."
    assert {a.path for a in client.list_artifacts(parent.info.run_id)} == {
        "report.html", "report.json",
    }  # fmt: skip
    nested = [client.get_run(run) for run in ran.document["variants"]]
    assert [run.info.run_name for run in nested] == [DENSE, SMALL]
    small = nested[1]
    assert small.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert small.data.tags["assay.verdict.ethics"] == "fail"
    assert small.data.params["method"] == "gptq"
    shown = {
        "ethics.score": 73.9, "ethics.score_low": 69.9, "ethics.score_high": 77.9,
        "ethics.difference": -6.1, "ethics.difference_low": -8.1, "ethics.difference_high": -4.1,
        "ethics.refused": 6, "tokens_per_second": 500, "bits_per_weight": 3.25,
    }  # fmt: skip
    assert shown.items() <= {k: pytest.approx(v) for k, v in small.data.metrics.items()}.items()
    assert {run.info.status for run in (parent, *nested)} == {"FINISHED"}


def test_a_study_that_is_exported_again_keeps_its_runs(assay: Any, study: Any, store: str) -> None:
    export = ("export", "mlflow", "study-1", "--tracking-uri", store)
    first, second = assay(*export, "--json").document, assay(*export, "--json").document
    assert first == second


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "directory"])
def test_a_store_that_is_away_or_refuses_is_named_with_its_option(
    assay: Any, study: Any, mlflow: Any, tmp_path: Any, monkeypatch: Any, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    # MLflow itself keeps nothing in plain directories any more.
    ran = assay("export", "mlflow", "study-1", "--tracking-uri", uri.replace("dir", f"{tmp_path}/"))
    assert ran.code == 2
    assert "--tracking-uri" in ran.err


def test_without_mlflow_the_extra_is_named(assay: Any, study: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    ran = assay("export", "mlflow", "study-1", "--tracking-uri", "runs")
    assert ran.code == 2
    assert "make mlflow" in ran.err
    assert "assay-cli[mlflow]" in ran.err
