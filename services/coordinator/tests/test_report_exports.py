"""The report as JSON, CSV and OpenMetrics."""

import csv
import json
import shutil
import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from report_facts import facts

from assay_coordinator.report.assemble import assemble
from assay_coordinator.report.model import ReportData
from assay_coordinator.report.openmetrics import render_openmetrics
from assay_coordinator.report.tabular import CSV_COLUMNS, render_csv, render_json


def test_json_is_the_whole_report_with_its_schema_version():
    data = assemble(facts())
    document = json.loads(render_json(data))
    assert document["schema_version"] == 1
    assert ReportData.model_validate(document) == data


def test_csv_has_one_line_per_score_and_no_formulas():
    spec = facts().spec.model_copy(update={"name": "x"})
    variants = list(facts().variants)
    variants[2] = variants[2].model_copy(update={"label": "=cmd|'/c calc'!A1"})
    content = render_csv(assemble(facts(spec=spec, variants=tuple(variants)))).decode()
    rows = list(csv.DictReader(content.splitlines()))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert len(rows) == 6
    row = next(r for r in rows if "3bit" in r["variant"] and r["dimension"] == "ethics")
    assert (row["difference"], row["verdict"], row["score"]) == ("-6.1", "fail", "73.9")
    assert row["label"].startswith("'=")


def with_a_further_metric():
    """The 3-bit variant also has `other` in ethics, which is shown and not compared."""
    base = facts()
    key = ("demo/gptq-3bit-g128/seed0", "ethics")
    of_ethics = next(e for e in base.evaluations if (e.variant_key, e.dimension) == key)
    further = of_ethics.scores[0].model_copy(update={"metric": "other", "value": 12.5})
    changed = of_ethics.model_copy(update={"scores": (*of_ethics.scores, further)})
    evaluations = tuple(changed if e == of_ethics else e for e in base.evaluations)
    return assemble(facts(evaluations=evaluations))


def test_a_difference_stands_beside_the_metric_that_was_compared():
    data = with_a_further_metric()
    rows = list(csv.DictReader(render_csv(data).decode().splitlines()))
    ours = [row for row in rows if row["dimension"] == "ethics" and "3bit" in row["variant"]]
    found = {row["metric"]: row for row in ours}
    assert found["ethics"]["difference"] == "-6.1"
    assert (found["other"]["score"], found["other"]["difference"]) == ("12.5", "")
    differences = [
        line
        for line in render_openmetrics(data).decode().splitlines()
        if line.startswith("assay_difference_points{") and "3bit" in line and "ethics" in line
    ]
    assert [line.split()[-1] for line in differences] == ["-6.1"]
    assert 'metric="ethics"' in differences[0]


def test_openmetrics_has_a_gauge_per_score_and_difference():
    text = render_openmetrics(assemble(facts())).decode()
    labels = (
        'dimension="ethics",metric="ethics",model="demo",parser="assay-2026",seed="0",'
        'study="small",variant="gptq-3bit-g128"'
    )
    assert f"assay_score_points{{{labels}}} 73.9" in text
    assert f"assay_difference_points{{{labels}}} -6.1" in text
    assert f"assay_verdict{{{labels}}} -1.0" in text
    assert text.endswith("# EOF\n")
    parsed = {family.name for family in text_string_to_metric_families(text)}
    assert {"assay_score_points", "assay_difference_low_points"} <= parsed


def test_promtool_finds_nothing_to_say_about_the_metrics():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on the PATH")
    content = render_openmetrics(assemble(facts()))
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=content, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
