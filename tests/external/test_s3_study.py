"""The whole line with everything it stores in S3: artifacts, generations, scores, reports."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from tests.e2e.stack import ROOT, Stack

sys.path.insert(0, str(ROOT / "services" / "core" / "tests"))

from object_servers import S3, s3_server

pytestmark = [pytest.mark.engine, pytest.mark.compression, pytest.mark.slow]

BUCKET = "assay-data"
STUDY = """
name: in S3
models: [demo]
recipes: [dense, {gptq: {bits: 4}}]
dimensions: [ethics]
pack: demo
row_limit: 3
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        server.make_bucket(BUCKET)
        yield server


@pytest.fixture(scope="module")
def remote(s3: S3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Every service, really, with a bucket for its data."""
    home = tmp_path_factory.mktemp("s3")
    running = Stack(home, {**s3.environment, "ASSAY_DATA_URI": f"s3://{BUCKET}/team/assay"})
    up = running.assay("up")
    assert up.code == 0, up.err + running.logs()
    yield running
    down = running.assay("down")
    assert down.code == 0, down.err


def test_a_study_lives_in_the_bucket_and_a_second_one_reuses_it(
    s3: S3, remote: Stack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("study") / "study.yaml"
    file.write_text(STUDY)
    ran = remote.assay("study", "run", "-f", file, "--json")
    assert ran.code == 0, ran.err + remote.logs()
    study = ran.document["study"]
    assert study["meta"]["state"] == "STATE_SUCCEEDED"
    assert ran.document["comparisons"][0]["n_pairs"] > 0

    bucket = fsspec.filesystem("s3", **s3.options(), use_listings_cache=False)
    keys = [key.removeprefix(f"{BUCKET}/team/assay/") for key in bucket.find(BUCKET)]
    assert {"artifacts", "variants", "generations", "scores", "reports"} <= {
        key.split("/")[0] for key in keys
    }
    assert sum(key.endswith("model.safetensors") for key in keys) == 2
    assert not any(key.endswith(".partial") for key in keys)
    assert not (remote.home / "data").exists()

    assert ran.document["report"].startswith(f"s3://{BUCKET}/team/assay/reports/")
    identifier = study["meta"]["id"]
    report = remote.assay("report", identifier, "--format", "json", "-o", "-")
    assert report.code == 0, report.err
    assert json.loads(report.out)

    again = remote.assay("study", "run", "-f", file, "--json")
    assert again.code == 0, again.err + remote.logs()
    for variant in again.document["study"]["variants"]:
        for evaluation in variant["evaluations"]:
            assert evaluation["completions_reused"] == evaluation["progress"]["total"]
    assert s3.secret not in remote.logs()


def test_a_bucket_that_is_not_there_is_said_at_the_start(s3: S3, tmp_path: Path) -> None:
    nowhere = Stack(
        tmp_path / "home", {**s3.environment, "ASSAY_DATA_URI": "s3://no-such-bucket/x"}
    )
    try:
        up = nowhere.assay("up")
        assert up.code != 0
        shown = up.err + nowhere.logs()
        assert "whose bucket does not exist" in shown
        assert "data_uri" in shown
    finally:
        nowhere.assay("down")
