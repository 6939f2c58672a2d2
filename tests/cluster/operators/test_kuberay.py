"""serving.ray.mode=kuberay with a real KubeRay operator: workers that come from nothing and go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.cluster import ETHICS_ALONE, Release, eventually, ready, study, whole
from tests.cluster.conftest import client_of, installed
from tests.cluster.operators.conftest import need

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

IDLE_SECONDS = 30


@pytest.fixture(scope="module")
def release(images: tuple[str, str]) -> Iterator[Release]:
    """A head with Ray's autoscaler, and no worker."""
    need("crd", "rayclusters.ray.io", "KubeRay")
    ray = "serving.ray"
    sets = (
        *ETHICS_ALONE, f"{ray}.mode=kuberay", "serving.resources.requests.memory=512Mi",
        f"{ray}.head.resources.requests.memory=256Mi", f"{ray}.workers.replicas=0",
        f"{ray}.workers.minReplicas=0", f"{ray}.workers.maxReplicas=1",
        f"{ray}.workers.resources.requests.memory=1Gi",
        f"{ray}.workers.resources.limits.memory=8Gi", f"{ray}.kuberay.idleSeconds={IDLE_SECONDS}",
    )  # fmt: skip
    with installed(Release("assay-kuberay", *images, sets)) as found:
        yield found


def cluster(release: Release) -> dict[str, Any]:
    """The RayCluster as it is."""
    (found,) = release.get("rayclusters")
    return found


def test_the_head_is_ready_with_an_autoscaler_that_is_restricted_too(release: Release) -> None:
    def up() -> bool:
        return cluster(release).get("status", {}).get("state") == "ready"

    eventually(up, 300, "the head of the RayCluster")
    (head,) = release.pods("ray-head")
    assert ready(head)
    assert [each["name"] for each in head["spec"]["containers"]] == ["ray-head", "autoscaler"]
    facts = (
        "id -u; grep -E '^(CapEff|NoNewPrivs):' /proc/1/status | tr -d '\\t'; ls /var/run/secrets"
    )
    seen = {
        name: release.shell(head["metadata"]["name"], name, f"{facts} 2>/dev/null || true").split(
            "\n"
        )
        for name in ("ray-head", "autoscaler")
    }
    rights = ["10001", "CapEff:0000000000000000", "NoNewPrivs:1"]
    assert seen == {"ray-head": rights, "autoscaler": [*rights, "kubernetes.io"]}
    assert release.pods("ray-worker") == []


def test_a_study_brings_a_worker_that_goes_when_its_engine_is_unloaded(
    release: Release, client_pod: str
) -> None:
    client = client_of(release, client_pod)
    recipe = {"magnitude": {"sparsity": [0.3, 0.6]}}
    identifier = client.create(study("kuberay", 8, recipe, dimensions=["ethics"]))
    client.await_completions(identifier, more_than=0)
    (worker,) = release.pods("ray-worker")
    assert release.engines(worker, "ray-worker") > 0
    (gateway,) = release.pods("serving")
    assert release.engines(gateway, "serving") == 0
    found = client.finish(identifier, 1200)
    assert found["meta"]["state"] == "STATE_SUCCEEDED", release.state()
    assert whole(found)

    serving = f"ASSAY_CLI_SERVING=assay-serving.{release.namespace}.svc:7400"
    for model in json.loads(client.exec("env", serving, "assay", "model", "list", "--json").out)[
        "models"
    ]:
        client.exec("env", serving, "assay", "model", "unload", model["meta"]["id"])
    eventually(
        lambda: not release.pods("ray-worker"), IDLE_SECONDS + 300, "the worker's end", every=5
    )
    # It comes back for the next model.
    again = client.create(
        study("again", 8, {"magnitude": {"sparsity": 0.8}}, dimensions=["ethics"])
    )
    assert client.finish(again, 1200)["meta"]["state"] == "STATE_SUCCEEDED", release.state()
    assert len(release.pods("ray-worker")) == 1


def test_an_upgrade_of_rays_pods_replaces_them_under_a_study(
    release: Release, client_pod: str
) -> None:
    client = client_of(release, client_pod)
    recipe = {"magnitude": {"sparsity": [0.1, 0.2, 0.4, 0.5, 0.7]}}
    identifier = client.create(study("upgraded", 60, recipe, dimensions=["ethics"]))
    client.await_completions(identifier, more_than=0)
    before = cluster(release)["metadata"]["name"]
    (head,) = release.pods("ray-head")
    # A number of workers that never changes, and no autoscaler.
    workers = "serving.ray.workers"
    release.upgrade(f"{workers}.replicas=1", f"{workers}.minReplicas=1")

    def replaced() -> bool:
        pods = release.pods("ray-head")
        uids = {pod["metadata"]["uid"] for pod in pods if ready(pod)}
        return len(pods) == 1 and bool(uids - {head["metadata"]["uid"]})

    eventually(replaced, 300, "another head")
    assert cluster(release)["metadata"]["name"] != before
    (now,) = release.pods("ray-head")
    assert [each["name"] for each in now["spec"]["containers"]] == ["ray-head"]
    found = client.finish(identifier, 1200)
    assert found["meta"]["state"] == "STATE_SUCCEEDED", release.state()
    assert whole(found)
