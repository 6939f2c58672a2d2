"""What the chart makes for operators is what their own schemas accept."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tests.chart.conftest import Manifest, require

CI = Path(__file__).parents[2] / "charts" / "assay" / "ci"
KUBERAY = "github.com/ray-project/kuberay/ray-operator"
PROMETHEUS = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
MONITORING = "example/prometheus-operator-crd/monitoring.coreos.com"
CERTIFICATES = (
    "github.com/cert-manager/cert-manager@v1.19.1",
    "deploy/crds/cert-manager.io_certificates.yaml",
)
RAY_CLUSTERS = "config/crd/bases/ray.io_rayclusters.yaml"
# An operator's Go module carries its CRDs: kind, module, file in it, values that make such objects.
CASES = [
    ("RayCluster", f"{KUBERAY}@v1.4.0", RAY_CLUSTERS, "operators"),
    ("RayCluster", f"{KUBERAY}@v1.5.0", RAY_CLUSTERS, "operators"),
    ("PodMonitor", PROMETHEUS, f"{MONITORING}_podmonitors.yaml", "operators"),
    ("PrometheusRule", PROMETHEUS, f"{MONITORING}_prometheusrules.yaml", "operators"),
    ("Certificate", *CERTIFICATES, "operators"),
    ("Certificate", *CERTIFICATES, "tls"),
    (
        "ScaledObject",
        "github.com/kedacore/keda/v2@v2.18.1",
        "config/crd/bases/keda.sh_scaledobjects.yaml",
        "keda",
    ),
]


@cache
def schema_of(module: str, file: str, version: str) -> dict[str, Any]:
    """Schema of a version of a custom resource."""
    done = subprocess.run(
        [require("go"), "mod", "download", "-json", module],
        cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"{module} cannot be fetched: {done.stdout} {done.stderr}")
    crd = yaml.load((Path(json.loads(done.stdout)["Dir"]) / file).read_text(), yaml.CSafeLoader)
    (served,) = (v for v in crd["spec"]["versions"] if v["name"] == version)
    return strict(served["schema"]["openAPIV3Schema"])


def strict(schema: Any) -> Any:
    """The schema with what the API server would prune as an error, and its own key words as JSON
    Schema's."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: strict(value) for key, value in schema.items()}
    if found.get("x-kubernetes-int-or-string") is True:
        found["type"] = ["integer", "string"]
        found.pop("anyOf", None)
    open_ended = found.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(found.get("properties"), dict) and "type" in found and not open_ended:
        found.setdefault("additionalProperties", False)
    return found


def complaints(schema: dict[str, Any], manifest: Manifest) -> list[str]:
    # The object's own metadata is checked by the API server, not by the CRD.
    schema = schema | {"properties": schema["properties"] | {"metadata": {"type": "object"}}}
    found = jsonschema.Draft4Validator(schema).iter_errors(manifest)
    return [f"{each.json_path}: {each.message}" for each in found]


def version_of(manifest: Manifest) -> str:
    return str(manifest["apiVersion"].rpartition("/")[2])


@pytest.mark.parametrize(("kind", "module", "file", "values"), CASES)
def test_an_operators_own_schema_accepts_it(render, kind, module, file, values):
    made = render(values=CI / f"{values}-values.yaml").of(kind)
    assert made
    schema = schema_of(module, file, version_of(made[0]))
    for manifest in made:
        assert complaints(schema, manifest) == []
        # So that a schema which accepts everything is noticed.
        assert complaints(schema, manifest | {"spec": {**manifest["spec"], "speck": 1}})


@pytest.mark.parametrize("module", [case[1] for case in CASES if case[0] == "RayCluster"])
def test_a_ray_cluster_without_gpus_is_accepted_and_a_wrong_field_deep_in_it_is_not(render, module):
    values = CI / "operators-values.yaml"
    (cluster,) = render("serving.gpu.enabled=false", values=values).of("RayCluster")
    schema = schema_of(module, RAY_CLUSTERS, "v1")
    assert complaints(schema, cluster) == []
    cluster["spec"]["workerGroupSpecs"][0]["replica"] = 1
    cluster["spec"]["headGroupSpec"]["template"]["spec"]["contaners"] = []
    assert len(complaints(schema, cluster)) == 2
