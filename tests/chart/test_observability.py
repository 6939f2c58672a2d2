"""Alerts, dashboards and the metrics page speak of metrics that the code has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from assay_cli.supervisor.stack import installed_dimensions

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "assay"
TOOLS = ROOT / "charts" / "tools"
RULES = CHART / "alerts" / "assay.rules.yaml"
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))

# Metrics of others: Prometheus, prometheus_client's process collector, the kubelet's volumes, and
# dcgm-exporter (NVIDIA/dcgm-exporter, etc/default-counters.csv).
FOREIGN = {
    "up",
    "process_resident_memory_bytes",
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_start_time_seconds",
    "kubelet_volume_stats_available_bytes",
    "kubelet_volume_stats_capacity_bytes",
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_FB_FREE",
    "DCGM_FI_DEV_MEM_COPY_UTIL",
    "DCGM_FI_DEV_POWER_USAGE",
    "DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_XID_ERRORS",
}
METRIC = re.compile(r"\b((?:assay|process|kubelet|DCGM)_[A-Za-z0-9_]+)\b")
LABEL = re.compile(r"([a-z_]+)\s*(?:=~|!~|=|!=)\s*\"")


@pytest.fixture(scope="module")
def declared():
    """Metrics of the code by name."""
    output = subprocess.run(
        [sys.executable, str(TOOLS / "docs.py"), "--json"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return {facts["name"]: facts for facts in json.loads(output)}


def expressions():
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{file.stem}: {panel['title']}", target["expr"]


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_metric_named_exists_in_the_code(declared, where, expression):
    names = set(METRIC.findall(expression)) - FOREIGN
    assert names or set(METRIC.findall(expression))
    for name in names:
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        histogram = base in declared and declared[base]["kind"] == "histogram"
        assert name in declared or histogram, f"{where} names {name}, which nothing exports"


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_label_selected_exists_on_its_metric(declared, where, expression):
    from_target = {"namespace", "persistentvolumeclaim"}
    for name, selector in re.findall(r"\b(assay_[a-z0-9_]+)\{([^}]*)\}", expression):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        labels = set((declared.get(name) or declared[base])["labels"]) | from_target
        assert set(LABEL.findall(selector)) <= labels, where


def test_metric_names_follow_the_conventions(declared):
    for name, facts in declared.items():
        assert name.startswith("assay_")
        assert (facts["kind"] == "counter") == name.endswith("_total")
        if facts["kind"] == "histogram":
            assert name.endswith(("_seconds", "_bytes"))
        assert facts["help"].endswith(".")


def test_labels_are_of_low_cardinality(declared):
    unbounded = {"id", "digest", "project", "study", "model", "prompt", "request_id", "sample"}
    named = {name for name, facts in declared.items() if unbounded & set(facts["labels"])}
    # These keep the newest few series only, see `study_gauges`.
    assert named == {
        "assay_coordinator_study_completions",
        "assay_coordinator_study_expected_completions",
        "assay_coordinator_study_eta_seconds",
        "assay_coordinator_score_points",
    }


@pytest.mark.parametrize("tool", ["docs.py", "dashboards.py"])
def test_generated_pages_are_up_to_date(tool):
    result = subprocess.run(
        [sys.executable, str(TOOLS / tool), "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_every_alert_has_a_test_and_a_runbook():
    tested = (Path(__file__).parent / "alerts.test.yaml").read_text()
    headings = re.findall(
        r"^## (\w+)$", (ROOT / "docs/operations/runbooks.md").read_text(), flags=re.MULTILINE
    )
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["alert"] in headings
            assert rule["annotations"]["runbook"].endswith("#" + rule["alert"].lower())
            assert re.search(rf"alertname: {rule['alert']}\n\s+exp_alerts:\n", tested)


def test_promtool_accepts_the_rules_and_their_tests_pass(tool, tmp_path):
    promtool = tool("promtool")
    shutil.copy(RULES, tmp_path)
    shutil.copy(Path(__file__).parent / "alerts.test.yaml", tmp_path)
    for arguments in (["check", "rules", RULES.name], ["test", "rules", "alerts.test.yaml"]):
        result = subprocess.run(
            [promtool, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_are_well_formed(file):
    board = json.loads(file.read_text())
    assert board["uid"] == file.stem
    assert len(board["uid"]) <= 40
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken = set()
    for panel in board["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        cells = {(x, grid["y"]) for x in range(grid["x"], grid["x"] + grid["w"])}
        assert not cells & taken
        taken |= cells
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]


def test_dashboards_are_what_grafanas_own_types_accept(tool, tmp_path):
    """Read strictly by Grafana's generated SDK: an unknown or a missing field is an error."""
    go = tool("go")
    program = tmp_path / "check"
    built = subprocess.run(
        [go, "build", "-o", program, "."], cwd=Path(__file__).parent / "dashboards",
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "dial tcp" in built.stderr or "proxyconnect" in built.stderr:
        pytest.skip("the module of Grafana's SDK cannot be fetched")
    assert built.returncode == 0, built.stderr
    done = subprocess.run([program, *DASHBOARDS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    typo = tmp_path / "typo.json"
    typo.write_text(DASHBOARDS[0].read_text().replace('"gridPos"', '"gridpos"', 1))
    assert subprocess.run([program, typo], capture_output=True, check=False).returncode == 1


def test_the_rendered_rule_is_the_tested_file(render):
    (rule,) = render("metrics.rules=on").of("PrometheusRule")
    assert rule["spec"] == yaml.safe_load(RULES.read_text())


def test_the_file_for_a_local_prometheus_names_the_usual_ports_of_every_service():
    ports = {"coordinator": 7500, "compression": 7501, "serving": 7502}
    ports |= {f"evaluator-{d}": 7510 + place for place, d in enumerate(installed_dimensions())}
    file = ROOT / "k8s" / "prometheus-local.yaml"
    config = yaml.safe_load(file.read_text())
    (job,) = config["scrape_configs"]
    named = {each["labels"]["component"]: each["targets"] for each in job["static_configs"]}
    assert named == {name: [f"127.0.0.1:{port}"] for name, port in ports.items()}
    assert (file.parent / config["rule_files"][0]).resolve() == RULES
