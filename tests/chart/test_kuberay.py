"""The RayCluster is one that KubeRay's own schema accepts, of every version that is named here."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tests.chart.conftest import require

CHART = Path(__file__).parents[2] / "charts" / "assay"
VALUES = CHART / "ci" / "operators-values.yaml"
# The operator's Go module carries its CRDs.
OPERATORS = ("v1.4.0", "v1.5.0")


@pytest.fixture(scope="module", params=OPERATORS)
def schema(request, tmp_path_factory) -> dict[str, Any]:
    """Schema of a RayCluster."""
    module = f"github.com/ray-project/kuberay/ray-operator@{request.param}"
    done = subprocess.run(
        [require("go"), "mod", "download", "-json", module],
        cwd=tmp_path_factory.mktemp("go"), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"{module} cannot be fetched: {done.stdout} {done.stderr}")
    folder = Path(json.loads(done.stdout)["Dir"])
    crd = yaml.safe_load((folder / "config/crd/bases/ray.io_rayclusters.yaml").read_text())
    (served,) = (v for v in crd["spec"]["versions"] if v["name"] == "v1")
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


def complaints(schema: dict[str, Any], manifest: dict[str, Any]) -> list[str]:
    # The object's own metadata is checked by the API server, not by the CRD.
    schema = schema | {"properties": schema["properties"] | {"metadata": {"type": "object"}}}
    found = jsonschema.Draft4Validator(schema).iter_errors(manifest)
    return [f"{each.json_path}: {each.message}" for each in found]


@pytest.mark.parametrize("gpu", ["true", "false"])
def test_the_ray_cluster_is_what_kuberay_expects(render, schema, gpu):
    (cluster,) = render(f"serving.gpu.enabled={gpu}", values=VALUES).of("RayCluster")
    assert complaints(schema, cluster) == []


def test_a_field_that_kuberay_does_not_know_is_found(render, schema):
    (cluster,) = render(values=VALUES).of("RayCluster")
    cluster["spec"]["workerGroupSpecs"][0]["replica"] = 1
    cluster["spec"]["headGroupSpec"]["template"]["spec"]["contaners"] = []
    assert len(complaints(schema, cluster)) == 2
