"""A real Prometheus scrapes the running stack: metrics, alerts, every dashboard's queries."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Iterator

import pytest
import yaml
from charts.tools.check_dashboards import series
from tests.chart.conftest import CHART, require
from tests.chart.prometheus import Prometheus, scraping
from tests.e2e.stack import Stack

from assay_cli.supervisor.state import RunFolder

pytestmark = [pytest.mark.engine, pytest.mark.compression, pytest.mark.slow]

# A recipe that no other test of the session runs, so that a job runs while it is watched, and rows
# enough for scrapes between its first completion and its last; run twice, so that an artifact is
# found again.
STUDY = """
name: watched
models: [demo]
recipes: [dense, {magnitude: {sparsity: 0.37}}]
dimensions: [stereotype, fairness, ethics]
pack: demo
row_limit: 20
"""


def targets(stack: Stack) -> dict[str, str]:
    """Metrics address of every service of the stack."""
    state = RunFolder(stack.home).read()
    assert state is not None
    return {each.name: each.metrics for each in state.services}


@pytest.fixture(scope="module")
def prometheus(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Has watched a study from its beginning to its end."""
    folder = tmp_path_factory.mktemp("prometheus")
    with scraping(targets(stack), folder) as running:
        file = folder / "study.yaml"
        file.write_text(STUDY)
        for _ in range(2):
            ran = stack.assay("study", "run", "-f", file, "--json")
            assert ran.code == 0, ran.err
        yield running


def test_every_service_is_scraped_under_its_own_name(stack: Stack, prometheus: Prometheus) -> None:
    assert prometheus.down() == {}
    seen = {each["metric"]["component"] for each in prometheus.query("assay_server_ready == 1")}
    assert seen == set(targets(stack))


def test_promtool_finds_nothing_to_say_about_our_metrics(
    stack: Stack, prometheus: Prometheus
) -> None:
    promtool = require("promtool")
    for component, address in targets(stack).items():
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as answer:
            exposed = answer.read()
        done = subprocess.run(
            [promtool, "check", "metrics"], input=exposed, capture_output=True, check=False
        )
        said = done.stdout.decode() + done.stderr.decode()
        ours = [line for line in said.splitlines() if line.startswith("assay_")]
        assert ours == [], component
        assert "error" not in said.lower(), component


def test_every_query_of_every_dashboard_has_data(prometheus: Prometheus) -> None:
    found = dict(series(prometheus.url))
    assert len(found) > 40
    assert [where for where, rows in found.items() if not rows] == []


def test_no_alert_fires_over_a_healthy_stack(prometheus: Prometheus) -> None:
    rules = {
        rule["name"]: rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]
    }
    written = yaml.safe_load((CHART / "alerts" / "assay.rules.yaml").read_text())
    assert rules.keys() == {rule["alert"] for group in written["groups"] for rule in group["rules"]}
    assert {name: rule["lastError"] for name, rule in rules.items() if rule.get("lastError")} == {}
    # Services that other tests killed may be an alert's matter. On a busy machine a scrape may
    # miss its second, which makes this one pending, and no more.
    assert rules["AssayServiceAbsent"]["state"] != "firing"
