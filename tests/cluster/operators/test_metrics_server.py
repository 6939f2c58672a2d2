"""A HorizontalPodAutoscaler that acts, by a real metrics-server: scoring under load."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.cluster import (
    ETHICS_ALONE,
    ROOT,
    Release,
    eventually,
    pod_with_claims,
    ready,
    run,
)
from tests.cluster.conftest import installed
from tests.cluster.operators.conftest import need

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

LOAD_SECONDS = 300
FOLDER = "/classifiers"
CHECKPOINT = ROOT / "services" / "scoring" / "tests" / "tiny_checkpoint.py"

# What an evaluator does, for a time: one channel, batch after batch. Prints batches and failures.
LOAD = """
import asyncio, os, sys, time
from assay_core.client import channel, stream
from assay_core.errors import AssayError
from assay_core.pb import scoring_pb2 as api, scoring_pb2_grpc
target, seconds = sys.argv[1], float(sys.argv[2])
batch = [api.ScoreItem(id=str(k), text="you are a good friend " * 5) for k in range(256)]

async def batches(stub, end):
    done = failed = 0
    while time.monotonic() < end:
        async def requests():
            yield api.ScoreRequest(items=batch)
        try:
            async for answer in stream(stub.Score, requests(), timeout=60):
                done += 1
        except AssayError:
            failed += 1
    return done, failed

async def main():
    async with channel(target, os.environ["ASSAY_PEER_TOKEN"]) as to:
        stub = scoring_pb2_grpc.ScoringServiceStub(to)
        end = time.monotonic() + seconds
        found = await asyncio.gather(*(batches(stub, end) for _ in range(4)))
    print(*map(sum, zip(*found)))

asyncio.run(main())
"""
SCORED = """
import re, urllib.request
page = urllib.request.urlopen("http://127.0.0.1:7500/metrics", timeout=5).read().decode()
print(sum(float(v) for v in re.findall(r"^assay_scoring_texts_total{.*} (\\S+)$", page, re.M)))
"""


@pytest.fixture(scope="module")
def release(images: tuple[str, str]) -> Iterator[Release]:
    """A release with a classifier on a volume, scored by one to two replicas."""
    need("apiservice", "v1beta1.metrics.k8s.io", "metrics-server")
    scoring = "scoring"
    sets = (
        f"{scoring}.enabled=true", f"{scoring}.settings.checkpoints.tiny={FOLDER}/tiny",
        f"{scoring}.autoscaling.enabled=true", f"{scoring}.autoscaling.maxReplicas=2",
        f"{scoring}.autoscaling.behavior.scaleDown.stabilizationWindowSeconds=15",
        f"{scoring}.resources.requests.memory=512Mi", "models.volumes[0].name=classifiers",
        "models.volumes[0].claimName=classifiers", f"models.volumes[0].mountPath={FOLDER}",
    )  # fmt: skip
    with installed(Release("assay-metrics", *images, ETHICS_ALONE)) as found:
        write_classifier(found)
        found.upgrade(*sets)
        yield found


def write_classifier(release: Release) -> None:
    """A claim with a small classifier, written by the image that will read it."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "classifiers"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Mi"}}},
    }
    image = f"{release.registry}/assay/scoring:{release.tag}"
    mounts = [{"name": "classifiers", "mountPath": FOLDER}]
    writer = pod_with_claims("writer", image, {"classifiers": "classifiers"}, mounts)
    listed = {"apiVersion": "v1", "kind": "List", "items": [claim, writer]}
    release.kubectl("apply", "-f", "-", stdin=json.dumps(listed))
    release.kubectl("wait", "--for=condition=Ready", "pod/writer", "--timeout=120s")
    program = ("exec", "-i", "writer", "--", "python", "-", f"{FOLDER}/tiny")
    release.kubectl(*program, stdin=CHECKPOINT.read_text())
    release.kubectl("delete", "pod", "writer", "--timeout=60s")


def scored(release: Release, pod: dict[str, Any]) -> float:
    """Texts that a replica has scored."""
    command = ("exec", pod["metadata"]["name"], "--", "python", "-c", SCORED)
    return float(release.kubectl(*command))


def replicas(release: Release) -> int:
    """How many replicas the autoscaler wants."""
    (found,) = release.get("horizontalpodautoscalers")
    return int(found["status"].get("desiredReplicas", 0))


def test_kubectl_top_knows_every_pod(release: Release) -> None:
    def known() -> bool:
        ran = run("kubectl", "-n", release.namespace, "top", "pods", "--no-headers")
        names = {pod["metadata"]["name"] for pod in release.pods()}
        return names <= {line.split()[0] for line in ran.out.splitlines()}

    eventually(known, 120, "the use of every pod", every=5)


def test_scoring_scales_out_under_load_and_back(release: Release) -> None:
    eventually(lambda: replicas(release) == 1, 180, "one replica while there is no work")
    (evaluator,) = release.pods("evaluator-ethics")
    target = f"dns:///assay-scoring.{release.namespace}.svc:7400"
    command = (
        "kubectl", "-n", release.namespace, "exec", evaluator["metadata"]["name"], "--",
        "python", "-c", LOAD, target, str(LOAD_SECONDS),
    )  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:

        def both_work() -> bool:
            pods = release.pods("scoring")
            return len(pods) == 2 and all(ready(pod) and scored(release, pod) for pod in pods)

        eventually(both_work, LOAD_SECONDS, "work of a second replica", every=5)
        assert replicas(release) == 2
        out, _ = load.communicate(timeout=LOAD_SECONDS + 120)
    done, failed = map(int, out.split())
    assert done > 0
    assert failed == 0, "no batch was lost as replicas came"
    eventually(lambda: replicas(release) == 1, 300, "one replica after the work", every=5)
    eventually(lambda: len(release.pods("scoring")) == 1, 120, "the end of the second replica")
