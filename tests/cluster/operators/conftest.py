"""What the chart uses where it is there: operators of a cluster, really acting.

`make e2e-operators` runs these tests. Each needs an operator, and skips where the cluster has none.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cluster.cluster import run
from tests.cluster.conftest import client_in

# Not that of the other tests: both may run in one cluster at a time.
CLIENT_NAMESPACE = "team-operators"


@pytest.fixture(scope="session")
def client_pod(images: tuple[str, str]) -> Iterator[str]:
    """Namespace of a pod with the command line and the label of clients."""
    with client_in(CLIENT_NAMESPACE, images):
        yield CLIENT_NAMESPACE


def need(kind: str, name: str, operator: str) -> None:
    """Skips without an object that an operator brings: `need("crd", "...", "KubeRay")`."""
    if run("kubectl", "get", kind, name).code != 0:
        pytest.skip(f"the cluster has no {operator} ({kind} {name})")
