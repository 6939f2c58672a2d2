"""PodMonitor and PrometheusRule with a real Prometheus operator: admitted, scraped, evaluated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.cluster.cluster import CHART, ETHICS_ALONE, Release, eventually, run
from tests.cluster.conftest import installed
from tests.cluster.operators.conftest import WATCHED, need, watched

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def release(images: tuple[str, str]) -> Iterator[Release]:
    """A release that finds the CRDs by itself (`auto`)."""
    need("crd", "podmonitors.monitoring.coreos.com", "Prometheus operator")
    with installed(Release("assay-prometheus", *images, (*ETHICS_ALONE, *WATCHED))) as found:
        yield found


@pytest.fixture(scope="module")
def prometheus(release: Release) -> Iterator[str]:
    """Path of the API of a Prometheus that the operator has made, by the Kubernetes API."""
    with watched(release.namespace) as path:
        yield path


def ask(path: str) -> Any:
    """Data of an answer of Prometheus."""
    done = run("kubectl", "get", "--raw", path)
    assert done.code == 0, done.err
    return json.loads(done.out)["data"]


def test_the_operators_prometheus_scrapes_every_pod_by_the_pod_monitor(
    release: Release, prometheus: str
) -> None:
    components = {
        pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in release.pods()
    }

    def up() -> bool:
        targets = ask(f"{prometheus}/targets?state=active")["activeTargets"]
        seen = {each["labels"].get("component") for each in targets if each["health"] == "up"}
        assert seen <= components
        return seen == components

    eventually(up, 180, "a scrape of every pod", every=3)


def test_the_alerts_are_loaded_by_the_prometheus_rule_and_evaluate(
    release: Release, prometheus: str
) -> None:
    file = yaml.safe_load((CHART / "alerts" / "assay.rules.yaml").read_text())
    wanted = {rule["alert"] for group in file["groups"] for rule in group["rules"]}

    def loaded() -> bool:
        groups = ask(f"{prometheus}/rules?type=alert")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return {rule["name"] for rule in rules if rule["health"] == "ok"} == wanted

    eventually(loaded, 180, "an evaluation of every alert", every=3)
