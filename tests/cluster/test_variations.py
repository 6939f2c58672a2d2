"""Other ways to install: Postgres with two coordinators, Ray in pods of its own, data in S3."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace

import fsspec
import pytest
from services.core.tests.object_servers import S3, s3_server
from tests.cluster.cluster import (
    ETHICS_ALONE,
    TERMINAL,
    Client,
    Release,
    eventually,
    ready,
    reused,
    run,
    scores,
    study,
    whole,
)
from tests.cluster.conftest import client_of, installed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

# Enough variants that a study is still at work when it has been seen at work.
RECIPES = ({"magnitude": {"sparsity": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]}},)


@pytest.fixture(scope="module")
def on_postgres(images: tuple[str, str]) -> Iterator[Release]:
    """Two coordinators and the bundled Postgres."""
    image = os.environ.get("ASSAY_E2E_POSTGRES")
    sets = (
        *ETHICS_ALONE, "database.type=postgres", "database.postgres.bundled.enabled=true",
        "coordinator.replicas=2", "coordinator.settings.executor_ttl_seconds=10",
        *((f"database.postgres.bundled.image={image}",) if image else ()),
    )  # fmt: skip
    with installed(Release("assay-postgres", *images, sets)) as found:
        yield found


@pytest.fixture(scope="module")
def on_ray(images: tuple[str, str]) -> Iterator[Release]:
    """A head and, for a start, no worker."""
    ray = "serving.ray"
    sets = (
        *ETHICS_ALONE, f"{ray}.mode=chart", "serving.resources.requests.memory=512Mi",
        f"{ray}.head.resources.requests.memory=256Mi",
        f"{ray}.workers.resources.requests.memory=1Gi",
        f"{ray}.workers.resources.limits.memory=8Gi",
    )  # fmt: skip
    with installed(Release("assay-ray", *images, (*sets, f"{ray}.workers.replicas=0"))) as found:
        yield found


@pytest.fixture(scope="module")
def object_store(client_pod: str) -> Iterator[S3]:
    """An S3 served by this process, which pods reach."""
    (node, *_) = json.loads(run("kubectl", "get", "nodes", "-o", "json").out)["items"]
    address = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect((address, 9))
        own = way.getsockname()[0]
    with s3_server(own) as store:
        store.make_bucket("assay")
        port = store.url.rpartition(":")[2]
        knock = f"import socket; socket.create_connection(({own!r}, {port}), 5)"
        if Client(client_pod).exec("python", "-c", knock).code:
            pytest.skip(f"pods do not reach this process at {own}")
        yield store


@pytest.fixture(scope="module")
def on_s3(images: tuple[str, str], object_store: S3) -> Iterator[Release]:
    """No shared volume; the keys of the store in a Secret of the namespace."""
    environment = object_store.environment
    sets = (
        *ETHICS_ALONE, "storage.type=s3", "storage.s3.uri=s3://assay/e2e",
        f"storage.s3.endpoint={environment.pop('AWS_ENDPOINT_URL')}",
        f"storage.s3.region={environment.pop('AWS_DEFAULT_REGION')}",
        "storage.s3.existingSecret=object-store",
    )  # fmt: skip
    secrets = {"object-store": environment}
    with installed(Release("assay-s3", *images, sets), secrets=secrets) as found:
        yield found


def ended_well(release: Release, client: Client, identifier: str) -> None:
    """The study succeeds with all completions, and what is stored is whole."""
    found = client.finish(identifier, 1200)
    assert found["meta"]["state"] == "STATE_SUCCEEDED", release.state()
    assert whole(found)
    wanted = study("again", 60, *RECIPES, dimensions=["ethics"])
    again = client.finish(client.create(wanted), 600)
    assert scores(again) == scores(found)
    assert reused(again)


def test_a_study_outlives_its_postgres(on_postgres: Release, client_pod: str) -> None:
    client = client_of(on_postgres, client_pod)
    identifier = client.create(study("outlives", 60, *RECIPES, dimensions=["ethics"]))
    client.await_completions(identifier, more_than=0)
    on_postgres.delete_pod("postgres")
    ended_well(on_postgres, client, identifier)


def test_a_coordinator_takes_over_from_one_that_is_gone(
    on_postgres: Release, client_pod: str
) -> None:
    client = client_of(on_postgres, client_pod)
    # By its own name, so that this replica runs the study.
    second = f"assay-coordinator-1.assay-coordinator-pods.{on_postgres.namespace}.svc:7400"
    at_second = replace(client, environment=(*client.environment, f"ASSAY_CLI_SERVER={second}"))
    identifier = at_second.create(study("taken-over", 50, *RECIPES, dimensions=["ethics"]))
    client.await_completions(identifier, more_than=0)
    on_postgres.kubectl("scale", "statefulset/assay-coordinator", "--replicas=1")
    found = client.finish(identifier, 1200)
    assert found["meta"]["state"] == "STATE_SUCCEEDED", on_postgres.state()
    assert whole(found)
    assert [pod["metadata"]["name"] for pod in on_postgres.pods("coordinator")] == [
        "assay-coordinator-0"
    ]
    said = on_postgres.kubectl("logs", "assay-coordinator-0", "--tail=-1").splitlines()
    taken = [json.loads(line) for line in said if "executor_taken_over" in line]
    assert [(each["executor"], each["workflows"]) for each in taken] == [("assay-coordinator-1", 1)]


def test_engines_run_on_ray_workers_that_come_go_and_come_back(
    on_ray: Release, client_pod: str
) -> None:
    client = client_of(on_ray, client_pod)
    identifier = client.create(study("on-ray", 60, *RECIPES, dimensions=["ethics"]))

    def waits_for_an_engine() -> bool:
        found = client.show(identifier)
        assert found and found["meta"]["state"] not in TERMINAL, on_ray.state()
        return any("loading" in variant.get("phase", "") for variant in found["variants"])

    # Asked for before there is a worker, as when workers are scaled from zero.
    eventually(waits_for_an_engine, 300, "a model that is asked for")
    on_ray.kubectl("scale", "deployment/assay-ray-worker", "--replicas=1")
    client.await_completions(identifier, more_than=0)
    (gateway,) = on_ray.pods("serving")
    assert on_ray.engines(gateway, "serving") == 0
    (worker,) = on_ray.pods("ray-worker")
    assert ready(worker)
    on_ray.delete_pod("ray-worker")
    ended_well(on_ray, client, identifier)


def test_a_study_keeps_everything_in_an_object_store(
    on_s3: Release, object_store: S3, client_pod: str
) -> None:
    client = client_of(on_s3, client_pod)
    identifier = client.create(study("on-s3", 60, *RECIPES, dimensions=["ethics"]))
    ended_well(on_s3, client, identifier)
    assert client.assay("report", identifier)
    claims = {each["metadata"]["name"] for each in on_s3.get("persistentvolumeclaims")}
    assert claims and all(name.endswith("-home") for name in claims)
    stored = fsspec.filesystem("s3", **object_store.options()).find("assay/e2e")
    assert {key.split("/")[2] for key in stored} >= {"artifacts", "generations", "reports"}
