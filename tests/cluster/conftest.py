"""One release for all tests of a session: `make e2e` builds, loads and names the images.

With ASSAY_E2E_KEEP=1 the release is kept at the end, and one that is there is taken up.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from tests.cluster.cluster import Client, Release, eventually, run

RELEASE_NAMESPACE = "assay"
CLIENT_NAMESPACE = "team"


@pytest.fixture(scope="session")
def release() -> Iterator[Release]:
    """Installed from nothing; the last test uninstalls it."""
    registry = os.environ.get("ASSAY_E2E_REGISTRY")
    if registry is None:
        pytest.skip("needs a cluster with the images loaded: run make e2e")
    installed = Release(RELEASE_NAMESPACE, registry, os.environ["ASSAY_E2E_TAG"])
    keep = "ASSAY_E2E_KEEP" in os.environ
    if not keep:
        _delete_namespaces()
    _create_namespace(RELEASE_NAMESPACE)
    installed.upgrade()
    yield installed
    if not keep:
        _delete_namespaces()


@pytest.fixture(scope="session")
def client(release: Release) -> Client:
    """A pod with the command line in a namespace of its own, with the label of clients."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "labels": {"assay.dev/client": "true"}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "client",
                    "image": f"{release.registry}/assay/cli:{release.tag}",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "infinity"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "env": [
                        {
                            "name": "ASSAY_CLI_SERVER",
                            "value": f"assay-coordinator.{release.namespace}.svc:7400",
                        },
                        {
                            "name": "ASSAY_CLI_TOKEN",
                            "valueFrom": {"secretKeyRef": {"name": "assay", "key": "token"}},
                        },
                        {"name": "ASSAY_HOME", "value": "/tmp/assay"},
                    ],
                }
            ],
        },
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "assay"},
        "data": {"token": release.secret()["user-token"]},
    }
    _create_namespace(CLIENT_NAMESPACE)
    for manifest in (secret, pod):
        command = ("kubectl", "-n", CLIENT_NAMESPACE, "apply", "-f", "-")
        done = run(*command, stdin=json.dumps(manifest))
        assert done.code == 0, done.err
    done = run(
        "kubectl", "-n", CLIENT_NAMESPACE, "wait", "--for=condition=Ready", "pod/client",
        "--timeout=120s",
    )  # fmt: skip
    assert done.code == 0, done.err
    return Client(CLIENT_NAMESPACE)


def _create_namespace(name: str) -> None:
    """With the restricted Pod Security standard enforced, unless it is there."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    manifest = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels},
    }
    done = run("kubectl", "apply", "-f", "-", stdin=json.dumps(manifest))
    assert done.code == 0, done.err


def _delete_namespaces() -> None:
    names = (RELEASE_NAMESPACE, CLIENT_NAMESPACE)
    run("kubectl", "delete", "namespace", *names, "--ignore-not-found", "--wait=false")
    eventually(
        lambda: all(run("kubectl", "get", "namespace", name).code != 0 for name in names),
        300, "the end of the namespaces",
    )  # fmt: skip
