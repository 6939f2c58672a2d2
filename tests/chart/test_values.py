"""The schema of the values refuses typing errors, and combinations that cannot work say why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

CHART = Path(__file__).parents[2] / "charts" / "assay"


@pytest.mark.parametrize(
    "value",
    [
        "replicas=2",
        "coordinator.replica=2",
        "evaluators.dimensions.ethics.resorces.limits.memory=1Gi",
        "evaluators.dimensions.Ethics.enabled=true",
        "serving.ray.mode=kubray",
        "serving.ray.keda.mode=yes",
        "serving.ray.keda.prometheusAddress=prometheus",
        "serving.gpu.count=0",
        "database.type=mysql",
        "metrics.podMonitor=yes",
        "storage.type=nfs",
        "tls.mode=on",
        "tls.clientCertificates=everybody",
        "tls.certManager.duration=1y",
        "tracing.otlpEndpoint=collector",
        "storage.pvc.size=10GiB",
        "log.level=verbose",
        "auth.userScope=root",
        "image.pullPolicy=Sometimes",
        "networkPolicies.enabled=true",
    ],
)
def test_a_typing_error_is_refused(refused, value):
    assert value.split(".")[0].split("=")[0] in refused(value)


@pytest.mark.parametrize(
    "name",
    ["peer_token", "database_url", "auth_tokens_file", "listen", "http_listen", "tls_key_file",
     "tls_client_ca_file", "peer_ca_file", "otlp_endpoint"],
)  # fmt: skip
def test_secrets_and_what_the_chart_decides_cannot_be_settings(refused, name):
    assert f"propertyName '{name}'" in refused(f"coordinator.settings.{name}=x")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (("coordinator.replicas=2",), "needs database.type=postgres"),
        (("database.type=postgres",), "needs database.postgres.existingSecret"),
        (("serving.ray.mode=external",), "needs serving.ray.address"),
        (("serving.ray.keda.mode=on",), "needs serving.ray.keda.prometheusAddress"),
        (("ingress.enabled=true",), "needs ingress.host"),
        (("ingress.http.host=h",), "needs ingress.enabled=true and serving.http.enabled=true"),
        (("scoring.enabled=true",), "needs scoring.settings.checkpoints"),
        (("evaluators.defaults.enabled=false",), "at least one evaluator"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_the_reason(refused, values, reason):
    assert reason in refused(*values)


def test_every_value_has_a_schema_and_forbids_others():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert schema["additionalProperties"] is False
    assert list(_paths(values, schema, schema, "")) == []


def _paths(values, schema, root, path):
    schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
    for name, value in values.items():
        own = schema.get("properties", {}).get(name)
        if own is None:
            if "patternProperties" not in schema and schema.get("additionalProperties") is False:
                yield f"{path}.{name}"
        elif isinstance(value, dict):
            yield from _paths(value, own, root, f"{path}.{name}")
