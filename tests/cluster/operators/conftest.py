"""What the chart uses where it is there: operators of a cluster, really acting.

`make e2e-operators` runs these tests. Each needs an operator, and skips where the cluster has none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.cluster import run
from tests.cluster.conftest import client_in

# Not that of the other tests: both may run in one cluster at a time.
CLIENT_NAMESPACE = "team-operators"
# Where cert-manager looks for the Secrets of ClusterIssuers.
RESOURCES = "cert-manager"
ISSUER = "assay-e2e"


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
