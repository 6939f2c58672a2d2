"""Releases on a real cluster: `make e2e` builds, loads and names the images.

With ASSAY_E2E_KEEP=1 the main release is kept at the end, and one that is there is taken up.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest
from tests.cluster.cluster import Client, Release, eventually, run

CLIENT_NAMESPACE = "team"


@pytest.fixture(scope="session")
def images() -> tuple[str, str]:
    """Registry and tag of the images, which are loaded."""
    registry = os.environ.get("ASSAY_E2E_REGISTRY")
    if registry is None:
        pytest.skip("needs a cluster with the images loaded: run make e2e")
    return registry, os.environ["ASSAY_E2E_TAG"]


@pytest.fixture(scope="module")
def release(images: tuple[str, str]) -> Iterator[Release]:
    """The main release, installed from nothing; the last test of it uninstalls it."""
    with installed(Release("assay", *images), keep="ASSAY_E2E_KEEP" in os.environ) as found:
        yield found


@pytest.fixture(scope="module")
def client(release: Release, client_pod: str) -> Client:
    """A client of the main release."""
    return client_of(release, client_pod)


@contextmanager
def installed(
    release: Release, *, keep: bool = False, secrets: Mapping[str, Mapping[str, str]] | None = None
) -> Iterator[Release]:
    """A release in a new namespace with given Secrets, which is deleted at the end."""
    if not keep:
        _delete_namespace(release.namespace)
    _create_namespace(release.namespace)
    for name, content in (secrets or {}).items():
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
        release.kubectl("apply", "-f", "-", stdin=json.dumps(secret | {"stringData": content}))
    release.upgrade()
    yield release
    if not keep:
        _delete_namespace(release.namespace)


def client_of(release: Release, namespace: str) -> Client:
    """The client pod, told where the release is, with a token of it."""
    where = f"ASSAY_CLI_SERVER={release.coordinator}"
    return Client(namespace, (where, f"ASSAY_CLI_TOKEN={release.token}"))


@pytest.fixture(scope="session")
def client_pod(images: tuple[str, str]) -> Iterator[str]:
    """Namespace of a pod with the command line and the label of clients."""
    with client_in(CLIENT_NAMESPACE, images):
        yield CLIENT_NAMESPACE


@contextmanager
def client_in(
    namespace: str, images: tuple[str, str], hosts: Mapping[str, Sequence[str]] | None = None
) -> Iterator[None]:
    """A pod with the command line in a new namespace, which is deleted at the end.

    Args:
        namespace: Its namespace.
        images: Registry and tag of its image.
        hosts: Names that no DNS of the cluster knows, by address.
    """
    registry, tag = images
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "labels": {"assay.dev/client": "true"}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "hostAliases": [
                {"ip": address, "hostnames": list(names)}
                for address, names in (hosts or {}).items()
            ],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "client",
                    "image": f"{registry}/assay/cli:{tag}",
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "infinity"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "env": [{"name": "ASSAY_HOME", "value": "/tmp/assay"}],
                }
            ],
        },
    }
    _create_namespace(namespace)
    done = run("kubectl", "-n", namespace, "apply", "-f", "-", stdin=json.dumps(pod))
    assert done.code == 0, done.err
    done = run(
        "kubectl", "-n", namespace, "wait", "--for=condition=Ready", "pod/client",
        "--timeout=120s",
    )  # fmt: skip
    assert done.code == 0, done.err
    yield
    _delete_namespace(namespace)


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


def _delete_namespace(name: str) -> None:
    run("kubectl", "delete", "namespace", name, "--ignore-not-found", "--wait=false")
    eventually(
        lambda: run("kubectl", "get", "namespace", name).code != 0,
        300, "the end of the namespace",
    )  # fmt: skip
