"""Every values file in ci/ renders to manifests that Kubernetes' own schemas accept."""

from __future__ import annotations

from pathlib import Path

import kubernetes_validate
import pytest
import yaml

CHART = Path(__file__).parents[2] / "charts" / "assay"
CI_VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
CI_VALUES += [CHART.parents[1] / "k8s" / "values" / name for name in ("cpu-small.yaml", "gpu.yaml")]
VERSIONS = ("1.31", "1.32", "1.33", "1.34")
CUSTOM = {"Certificate", "PodMonitor", "PrometheusRule", "RayCluster", "ScaledObject"}


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda path: path.stem)
def test_lint_is_strict_and_clean(helm, values):
    result = helm("lint", "--strict", str(CHART), "--values", str(values))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "[WARNING]" not in result.stdout


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", CI_VALUES, ids=lambda path: path.stem)
def test_schemas_of_kubernetes_accept_it(render, values, version):
    for manifest in render(values=values, version=f"{version}.0").manifests:
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda path: path.stem)
def test_names_are_unique_and_fit_dns(render, values):
    seen = set()
    for manifest in render(values=values).manifests:
        key = (manifest["kind"], manifest["metadata"]["name"])
        assert key not in seen
        assert len(key[1]) <= 63
        seen.add(key)


@pytest.mark.parametrize("release", ["r" * 53, f"assay-{'r' * 47}"])
def test_the_longest_release_name_makes_services_that_kubernetes_takes(helm, release):
    found = helm("template", release, str(CHART), "--kube-version", f"{VERSIONS[-1]}.0")
    assert found.returncode == 0, found.stderr
    services = [m for m in yaml.safe_load_all(found.stdout) if m and m["kind"] == "Service"]
    assert max(len(each["metadata"]["name"]) for each in services) <= 63


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda path: path.stem)
def test_selectors_match_their_own_pods_and_nobody_elses(render, values):
    found = render(values=values)
    workloads = found.of("Deployment") + found.of("StatefulSet")
    pods = {w["metadata"]["name"]: w["spec"]["template"]["metadata"]["labels"] for w in workloads}
    for workload in workloads:
        selector = workload["spec"]["selector"]["matchLabels"].items()
        matching = {name for name, labels in pods.items() if selector <= labels.items()}
        assert matching == {workload["metadata"]["name"]}


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda path: path.stem)
def test_every_mount_has_a_volume_and_a_path_of_its_own(render, values):
    found = render(values=values)
    templates = (s["spec"].get("volumeClaimTemplates", []) for s in found.of("StatefulSet"))
    claims = {claim["metadata"]["name"] for each in templates for claim in each}
    for name, pod in found.pods():
        volumes = [volume["name"] for volume in pod.get("volumes", [])]
        assert len(volumes) == len(set(volumes)), name
        for container in pod.get("initContainers", []) + pod["containers"]:
            mounts = container.get("volumeMounts", [])
            paths = [mount["mountPath"] for mount in mounts]
            assert len(paths) == len(set(paths)), name
            assert {mount["name"] for mount in mounts} <= {*volumes, *claims}, name


def test_rendering_twice_is_the_same(helm):
    arguments = ("template", "t", str(CHART), "--kube-version", "1.34.0")
    first = helm(*arguments)
    helm.cache_clear()
    assert helm(*arguments).stdout == first.stdout
