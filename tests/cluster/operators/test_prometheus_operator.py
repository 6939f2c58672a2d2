"""PodMonitor and PrometheusRule with a real Prometheus operator: admitted, scraped, evaluated."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.cluster.cluster import CHART, ETHICS_ALONE, Release, eventually, run
from tests.cluster.conftest import installed
from tests.cluster.operators.conftest import apply, need

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

MONITORING = "assay-e2e-monitoring"
LABELS = {"release": "assay-e2e"}
# The operator tells Prometheus by flags, which are the version's.
IMAGE = os.environ.get("ASSAY_E2E_PROMETHEUS", "assay.local/operators/prometheus:v0.304.2")
VERSION = os.environ.get("ASSAY_E2E_PROMETHEUS_VERSION", "v3.4.2")


@pytest.fixture(scope="module")
def release(images: tuple[str, str]) -> Iterator[Release]:
    """A release that finds the CRDs by itself (`auto`)."""
    need("crd", "podmonitors.monitoring.coreos.com", "Prometheus operator")
    labels = (f"metrics.labels.{key}={value}" for key, value in LABELS.items())
    sets = (*ETHICS_ALONE, *labels, "metrics.annotations=false", "metrics.interval=5s")
    with installed(Release("assay-prometheus", *images, sets)) as found:
        yield found


@pytest.fixture(scope="module")
def prometheus(release: Release) -> Iterator[str]:
    """Path of the API of a Prometheus that the operator has made, by the Kubernetes API."""
    name = {"name": MONITORING}
    here = {"name": "prometheus", "namespace": MONITORING}
    rbac = "rbac.authorization.k8s.io"
    role = {"apiGroup": rbac, "kind": "ClusterRole", **name}
    subject = {"kind": "ServiceAccount", **here}
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    where = {"matchLabels": {"kubernetes.io/metadata.name": release.namespace}}
    chosen = {"matchLabels": LABELS}
    spec = {
        "image": IMAGE,
        "version": VERSION,
        "serviceAccountName": "prometheus",
        "podMonitorNamespaceSelector": where,
        "podMonitorSelector": chosen,
        "ruleNamespaceSelector": where,
        "ruleSelector": chosen,
        "evaluationInterval": "5s",
        "resources": {"requests": {"memory": "128Mi"}},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "fsGroup": 2000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": name},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": here},
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": name, "rules": [rule]},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": name,
            "roleRef": role,
            "subjects": [subject],
        },
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "Prometheus",
            "metadata": here,
            "spec": spec,
        },
    )
    path = f"/api/v1/namespaces/{MONITORING}/services/prometheus-operated:9090/proxy/api/v1"
    ready = ("kubectl", "get", "--raw", f"{path}/status/runtimeinfo")
    eventually(lambda: run(*ready).code == 0, 240, "a Prometheus of the operator", every=3)
    yield path
    run("kubectl", "-n", MONITORING, "delete", "prometheus", "prometheus")
    run("kubectl", "delete", "namespace,clusterrole,clusterrolebinding", MONITORING)


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
