"""What the chart uses where it is there: operators of a cluster, really acting.

`make e2e-operators` runs these tests. Each needs an operator, and skips where the cluster has none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.cluster.cluster import eventually, run
from tests.cluster.conftest import client_in

# Not that of the other tests: both may run in one cluster at a time.
CLIENT_NAMESPACE = "team-operators"
# Where cert-manager looks for the Secrets of ClusterIssuers.
RESOURCES = "cert-manager"
ISSUER = "assay-e2e"
MONITORING = "assay-e2e-monitoring"
LABELS = {"release": "assay-e2e"}
# Values of a release that the Prometheus of these tests scrapes by its PodMonitor.
WATCHED = (
    *(f"metrics.labels.{key}={value}" for key, value in LABELS.items()),
    "metrics.annotations=false", "metrics.interval=5s",
)  # fmt: skip
# The operator tells Prometheus by flags, which are the version's.
PROMETHEUS = os.environ.get("ASSAY_E2E_PROMETHEUS", "assay.local/operators/prometheus:v0.304.2")
PROMETHEUS_VERSION = os.environ.get("ASSAY_E2E_PROMETHEUS_VERSION", "v3.4.2")


@pytest.fixture(scope="session")
def client_pod(images: tuple[str, str]) -> Iterator[str]:
    """Namespace of a pod with the command line and the label of clients."""
    with client_in(CLIENT_NAMESPACE, images):
        yield CLIENT_NAMESPACE


def need(kind: str, name: str, operator: str) -> None:
    """Skips without an object that an operator brings: `need("crd", "...", "KubeRay")`."""
    if run("kubectl", "get", kind, name).code != 0:
        pytest.skip(f"the cluster has no {operator} ({kind} {name})")


def apply(*manifests: dict[str, Any]) -> None:
    """Applies manifests."""
    listed = {"apiVersion": "v1", "kind": "List", "items": manifests}
    done = run("kubectl", "apply", "-f", "-", stdin=json.dumps(listed))
    assert done.code == 0, done.err


@contextmanager
def watched(namespace: str) -> Iterator[str]:
    """A Prometheus of the operator for the releases of a namespace, until the end of the block.

    Yields:
        The path of its API at the Kubernetes API.
    """
    name = {"name": MONITORING}
    here = {"name": "prometheus", "namespace": MONITORING}
    rbac = "rbac.authorization.k8s.io"
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    where = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    chosen = {"matchLabels": LABELS}
    spec = {
        "image": PROMETHEUS,
        "version": PROMETHEUS_VERSION,
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
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", **name},
            "subjects": [{"kind": "ServiceAccount", **here}],
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
    run("kubectl", "delete", "clusterrole,clusterrolebinding", MONITORING)
    run("kubectl", "delete", "namespace", MONITORING)


@pytest.fixture(scope="session")
def issuer() -> Iterator[str]:
    """An authority of its own for the whole cluster."""
    need("crd", "certificates.cert-manager.io", "cert-manager")
    group = "cert-manager.io/v1"
    root = {"name": f"{ISSUER}-root"}
    spec = {
        "isCA": True,
        "commonName": ISSUER,
        "secretName": ISSUER,
        "privateKey": {"algorithm": "ECDSA", "rotationPolicy": "Always"},
        "issuerRef": {**root, "kind": "ClusterIssuer"},
    }
    made = (
        {
            "apiVersion": group,
            "kind": "ClusterIssuer",
            "metadata": root,
            "spec": {"selfSigned": {}},
        },
        {
            "apiVersion": group,
            "kind": "Certificate",
            "metadata": {"name": ISSUER, "namespace": RESOURCES},
            "spec": spec,
        },
        {
            "apiVersion": group,
            "kind": "ClusterIssuer",
            "metadata": {"name": ISSUER},
            "spec": {"ca": {"secretName": ISSUER}},
        },
    )
    apply(*made)
    done = run(
        "kubectl", "wait", "--for=condition=Ready", f"clusterissuer/{ISSUER}", "--timeout=90s"
    )
    assert done.code == 0, done.err
    yield ISSUER
    run("kubectl", "delete", "clusterissuer", ISSUER, f"{ISSUER}-root")
    run("kubectl", "-n", RESOURCES, "delete", "certificate,secret", ISSUER)
