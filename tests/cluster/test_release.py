"""The life of a release: install, use, disturb, upgrade, roll back, uninstall. In this order."""

from __future__ import annotations

import base64
import json
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from charts.tools.check_dashboards import series
from tests.chart.prometheus import scraping
from tests.cluster.backup import Backup
from tests.cluster.cluster import (
    PART_OF,
    Client,
    Release,
    completions,
    eventually,
    ready,
    reused,
    scores,
    study,
    whole,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

DENIED = 16  # The number of UNAUTHENTICATED.

# What a client of one's own does, with nothing but the stubs: prints the status of a create.
CREATE = """
import grpc, sys
from google.protobuf.json_format import ParseDict
from assay.coordination.v1 import coordination_pb2 as api
from assay.coordination.v1.coordination_pb2_grpc import CoordinationServiceStub
server, token = sys.argv[1:]
stub = CoordinationServiceStub(grpc.insecure_channel(server))
spec = ParseDict({"name": "client", "models": [{"uri": "demo"}], "recipes": [{"dense": {}}],
                  "dimensions": ["ethics"], "pack": {"uri": "demo"}, "row_limit": 1},
                 api.StudySpec())
header = [("authorization", "Bearer " + token)] if token else []
try:
    study = stub.CreateStudy(api.CreateStudyRequest(spec=spec), metadata=header, timeout=30).study
    print(0, study.meta.id)
except grpc.RpcError as error:
    print(error.code().value[0], error.code().name)
"""


def states(client: Client) -> dict[str, str]:
    """State of every study by its id."""
    listed = client.assay("study", "list")["studies"]
    return {each["meta"]["id"]: each["meta"]["state"] for each in listed}


def test_every_pod_is_ready_after_an_install_that_waits(release: Release) -> None:
    pods = release.pods()
    assert {pod["metadata"]["labels"]["assay.dev/service"] for pod in pods} == {
        "coordinator", "compression", "serving", "evaluator",
    }  # fmt: skip
    assert all(ready(pod) for pod in pods)
    workloads = release.get("deployments,statefulsets")
    assert len(pods) == sum(workload["spec"]["replicas"] for workload in workloads)


def test_containers_run_without_root_rights_or_a_writable_root(release: Release) -> None:
    facts = "id -u; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/1/status | tr -d '\\t'; "
    writes = "for f in / /opt /usr /etc; do touch $f/x 2>/dev/null && echo wrote $f; done; true"
    for pod in release.pods():
        container = pod["spec"]["containers"][0]["name"]
        seen = release.shell(pod["metadata"]["name"], container, facts + writes).split("\n")
        assert seen == ["10001", "CapEff:0000000000000000", "NoNewPrivs:1", "Seccomp:2"], pod
        mounts = release.shell(pod["metadata"]["name"], container, "ls /var/run/secrets || true")
        assert "kubernetes.io" not in mounts


def test_a_client_of_another_namespace_needs_a_token(release: Release, client: Client) -> None:
    for shown, expected in (("", DENIED), ("not-the-token", DENIED), (release.token, 0)):
        ran = client.exec("python", "-c", CREATE, release.coordinator, shown)
        assert ran.code == 0, ran.err
        assert int(ran.out.split()[0]) == expected
    created = ran.out.split()[1]
    assert client.finish(created, 900)["meta"]["state"] == "STATE_SUCCEEDED", release.state()


def test_helm_test_runs_a_study_through_services_and_names(release: Release) -> None:
    done = release.helm("test", "assay", "--timeout", "30m", "--logs", seconds=1900)
    assert done.code == 0, done.out + done.err + release.state()
    assert "Phase:          Succeeded" in done.out


def test_a_prometheus_scrapes_every_service_and_fills_every_dashboard(
    release: Release, client: Client, tmp_path: Path
) -> None:
    targets = {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]: f"{pod['status']['podIP']}:7500"
        for pod in release.pods()
    }
    host, _, port = next(iter(targets.values())).rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except OSError:
        pytest.skip("pods' addresses are not reachable from here")
    with scraping(targets, tmp_path) as prometheus:
        assert prometheus.down() == {}
        ready = {
            each["metric"]["component"] for each in prometheus.query("assay_server_ready == 1")
        }
        assert ready == set(targets)
        # Progress and time left are there while a study runs.
        watched = client.create(study("watched", 30, {"magnitude": {"sparsity": 0.6}}))
        assert client.finish(watched, 900)["meta"]["state"] == "STATE_SUCCEEDED", release.state()
        time.sleep(5)  # Rates need more than one sample.
        assert [where for where, found in series(prometheus.url) if not found] == []


@pytest.mark.parametrize(
    ("component", "recipe"),
    [
        ("compression", {"gptq": {"bits": [8, 4, 3]}}),
        ("coordinator", {"magnitude": {"sparsity": [0.15, 0.2, 0.25]}}),
        ("evaluator-stereotype", {"magnitude": {"sparsity": [0.35, 0.4, 0.45]}}),
        ("serving", {"magnitude": {"sparsity": [0.5, 0.55, 0.65]}}),
    ],
)
def test_a_deleted_pod_loses_nothing_of_a_study(
    release: Release, client: Client, component: str, recipe: dict[str, Any]
) -> None:
    wanted = study(f"without-{component}", 60, recipe)
    identifier = client.create(wanted)

    def under_way() -> dict[str, Any] | None:
        found = client.show(identifier) or {"variants": []}
        if component == "compression":
            busy = any("compress" in variant.get("phase", "") for variant in found["variants"])
        else:
            # Of the dense model everything may be stored already.
            busy = any(completions({"variants": [each]}) for each in found["variants"][1:])
        return found if busy else None

    before = eventually(under_way, 900, "work of the pod that is to be deleted", every=0.5)
    release.delete_pod(component)
    disturbed = client.finish(identifier, 1500)
    assert completions(before) < completions(disturbed), "the pod was deleted after the end"
    assert disturbed["meta"]["state"] == "STATE_SUCCEEDED", release.state()
    assert whole(disturbed)
    # What is stored is whole: the same study again generates nothing and says the same.
    again = client.finish(client.create(wanted | {"name": "again"}), 900)
    assert scores(again) == scores(disturbed)
    assert reused(again)


def test_an_upgrade_rolls_the_pods_and_a_running_study_goes_on(
    release: Release, client: Client
) -> None:
    before = {pod["metadata"]["uid"] for pod in release.pods()}
    secret = release.secret()
    identifier = client.create(study("upgraded", 60, {"magnitude": {"sparsity": 0.3}}))
    client.await_completions(identifier, more_than=0)
    release.upgrade("log.level=debug", "grpc.drainSeconds=10")
    after = release.pods()
    assert not before & {pod["metadata"]["uid"] for pod in after}
    assert release.secret() == secret, "tokens survive upgrades"
    finished = client.finish(identifier, 1500)
    assert finished["meta"]["state"] == "STATE_SUCCEEDED", release.state()


def test_a_rollback_brings_the_old_settings_back_and_keeps_every_study(
    release: Release, client: Client
) -> None:
    def level() -> str:
        text = release.kubectl("get", "configmap", "assay-serving", "-o", "json")
        return str(json.loads(text)["data"]["config.yaml"])

    known = states(client)
    assert "log_level: debug" in level()
    done = release.helm("rollback", "assay", "1", "--wait", "--timeout", "10m", seconds=660)
    assert done.code == 0, done.err + release.state()
    release.settle()
    assert "log_level: info" in level()
    assert states(client) == known
    ended = [each for each, state in known.items() if state == "STATE_SUCCEEDED"]
    assert ended
    assert all(client.assay("report", each) for each in ended)


def test_services_speak_mutual_tls_when_they_are_told(release: Release, client: Client) -> None:
    authority = trustme.CA()
    names = [
        name
        for service in release.get("services")
        for name in (service["metadata"]["name"],)
        if not name.endswith("-pods")
    ]
    pair = authority.issue_cert(
        *(f"{name}{suffix}" for name in names for suffix in ("", f".{release.namespace}.svc"))
    )
    files = {
        "ca.crt": authority.cert_pem.bytes(),
        "tls.crt": b"".join(blob.bytes() for blob in pair.cert_chain_pems),
        "tls.key": pair.private_key_pem.bytes(),
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "assay-tls"},
        "data": {name: base64.b64encode(content).decode() for name, content in files.items()},
    }
    release.kubectl("apply", "-f", "-", stdin=json.dumps(secret))
    server = f"ASSAY_CLI_SERVING=assay-serving.{release.namespace}.svc:7400"
    models = ("env", server, "assay", "model", "list", "--json")
    assert client.exec(*models).code == 0
    release.upgrade("tls.mode=secrets", "tls.secrets.name=assay-tls")
    plain = client.exec("assay", "study", "list", "--json")
    assert plain.code != 0, "plaintext is refused"
    written = client.exec("sh", "-c", "cat > /tmp/ca.crt", stdin=files["ca.crt"].decode())
    assert written.code == 0
    trusting = replace(
        client, environment=(*client.environment, "ASSAY_CLI_PEER_CA_FILE=/tmp/ca.crt")
    )
    finished = trusting.finish(
        trusting.create(study("tls", 1, {"magnitude": {"sparsity": 0.3}})), 900
    )
    assert finished["meta"]["state"] == "STATE_SUCCEEDED", release.state()
    # A service asks its callers for a certificate, which this client has not.
    assert trusting.exec(*models).code != 0


def test_no_token_is_in_a_config_map_a_log_or_a_pods_description(release: Release) -> None:
    secrets = {
        base64.b64decode(value).decode()
        for name, value in release.secret().items()
        if name.endswith(("-token", "-password"))
    }
    assert len(secrets) == 5
    seen = [
        release.kubectl("get", "configmaps", "-o", "json"),
        release.kubectl("get", "pods", "-o", "json"),
        release.kubectl("logs", "-l", "assay.dev/service", "--all-containers", "--tail=-1"),
    ]
    for text in seen:
        assert not [token for token in secrets if token in text]


def test_no_private_key_and_no_settings_of_the_builder_are_in_an_image(release: Release) -> None:
    folders = "/opt/app /opt/share /etc /home /root /tmp"
    keys = f"grep -rIlE -e '-----BEGIN [A-Z ]*PRIVATE KEY' {folders} 2>/dev/null; "
    files = f"find {folders} -name .env -o -name pip.conf -o -name uv.toml -o -name .git; true"
    for pod in release.pods():
        container = pod["spec"]["containers"][0]["name"]
        found = release.shell(pod["metadata"]["name"], container, keys + files).splitlines()
        # The Secret that the last test mounted is no part of the image.
        assert [path for path in found if not path.startswith("/etc/assay/tls/")] == [], pod


def test_a_backup_brings_everything_back(release: Release, client: Client, tmp_path: Path) -> None:
    release.upgrade()
    wanted = study("kept", 1, {"magnitude": {"sparsity": 0.3}})
    kept = client.finish(client.create(wanted), 900)
    known = states(client)
    backup = Backup(release, tmp_path)
    backup.save()
    assert release.helm("uninstall", "assay", "--wait", "--timeout", "5m").code == 0
    release.kubectl("delete", "secret,persistentvolumeclaim", "-l", PART_OF, "--timeout=120s")
    backup.restore()
    assert states(client) == known
    ended = [each for each, state in known.items() if state == "STATE_SUCCEEDED"]
    assert all(client.assay("report", each) for each in ended)
    # Everything that a study needs is stored, and new work runs too.
    again = client.finish(client.create(wanted | {"name": "again"}), 900)
    assert reused(again)
    assert scores(again) == scores(kept)
    fresh = client.finish(client.create(study("new", 1, {"magnitude": {"sparsity": 0.7}})), 900)
    assert fresh["meta"]["state"] == "STATE_SUCCEEDED", release.state()


def test_uninstall_leaves_what_it_says_it_leaves(release: Release) -> None:
    claims = {each["metadata"]["name"] for each in release.get("persistentvolumeclaims")}
    homes = {name for name in claims if name.endswith("-home")}
    assert claims == homes | {"assay-data"}
    done = release.helm("uninstall", "assay", "--wait", "--timeout", "5m")
    assert done.code == 0, done.err
    kinds = (
        "deployments,statefulsets,pods,services,configmaps,networkpolicies,"
        "poddisruptionbudgets,serviceaccounts,roles,rolebindings,jobs"
    )

    def left() -> list[str]:
        names = [f"{each['kind']}/{each['metadata']['name']}" for each in release.get(kinds)]
        # helm keeps the pod of its test for its log.
        return [name for name in names if name != "Pod/assay-test-study"]

    eventually(lambda: not left(), 120, "the end of everything else")
    kept = {each["metadata"]["name"] for each in release.get("persistentvolumeclaims")}
    assert kept == claims
    assert release.secret()["user-token"]
