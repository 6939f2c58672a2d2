"""Where data lives: one volume shared by every service, or an object store."""

from __future__ import annotations

import pytest

S3 = ("storage.type=s3", "storage.s3.uri=s3://assay/prod")
SECRET = "storage.s3.existingSecret=keys"
STORING = ("coordinator", "compression", "serving", "evaluator-ethics")


def environment(rendering, component):
    kind = "StatefulSet" if component == "coordinator" else "Deployment"
    pod = rendering.one(kind, f"t-assay-{component}")["spec"]["template"]["spec"]
    return {e["name"]: e for e in pod["containers"][0]["env"]}


@pytest.mark.parametrize("component", STORING)
def test_a_volume_by_default_and_no_word_of_an_object_store(render, component):
    found = render()
    assert found.settings(component)["data_uri"] == "file:///var/lib/assay/data"
    assert not [name for name in environment(found, component) if name.startswith("AWS_")]
    assert "t-assay-data" in found.names("PersistentVolumeClaim")


@pytest.mark.parametrize("component", STORING)
def test_s3_has_no_volume_and_its_keys_come_from_the_secret(render, component):
    found = render(*S3, SECRET, "storage.s3.region=eu-west-1")
    assert found.settings(component)["data_uri"] == "s3://assay/prod"
    assert "t-assay-data" not in found.names("PersistentVolumeClaim")
    for name, pod in found.pods():
        mounted = [m["name"] for c in pod["containers"] for m in c.get("volumeMounts", [])]
        assert "data" not in (*mounted, *(v["name"] for v in pod.get("volumes", []))), name
    env = environment(found, component)
    keys = {
        k: e["valueFrom"]["secretKeyRef"]
        for k, e in env.items()
        if k.startswith("AWS_") and "valueFrom" in e
    }
    assert keys == {
        "AWS_ACCESS_KEY_ID": {"name": "keys", "key": "AWS_ACCESS_KEY_ID"},
        "AWS_SECRET_ACCESS_KEY": {"name": "keys", "key": "AWS_SECRET_ACCESS_KEY"},
        "AWS_SESSION_TOKEN": {"name": "keys", "key": "AWS_SESSION_TOKEN", "optional": True},
    }
    assert env["AWS_DEFAULT_REGION"]["value"] == "eu-west-1"


def test_without_a_secret_the_service_accounts_identity_counts(render):
    env = environment(render(*S3), "serving")
    assert not [name for name in env if name.startswith("AWS_")]


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("", 443),
        ("https://minio.example.com", 443),
        ("http://minio.store.svc", 80),
        ("http://minio.store.svc:9000", 9000),
        ("https://minio.example.com:9443/", 9443),
    ],
)
def test_only_the_stores_port_is_let_out(render, endpoint, port):
    found = render(*S3, f"storage.s3.endpoint={endpoint}")
    plain = render()

    def egress(rendering, component):
        return rendering.one("NetworkPolicy", f"t-assay-{component}")["spec"]["egress"] or []

    for component in ("coordinator", "compression", "serving", "evaluator"):
        before = egress(plain, component)
        added = [rule for rule in egress(found, component) if rule not in before]
        assert added == [{"ports": [{"port": port, "protocol": "TCP"}]}]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (("storage.type=s3",), "needs storage.s3.uri"),
        ((*S3, "serving.ray.mode=chart"), "needs serving.ray.mode=embedded"),
        (("storage.s3.uri=minio/assay",), "pattern"),
        (("storage.s3.endpoint=minio:9000",), "pattern"),
    ],
)
def test_a_store_that_would_not_work_is_refused(refused, values, reason):
    assert reason in refused(*values)
