"""The RayCluster as KubeRay wants it: what the operator adds to it must run here too."""

from __future__ import annotations

import pytest

KUBERAY = "serving.ray.mode=kuberay"
API = "/var/run/secrets/kubernetes.io/serviceaccount"


def cluster(rendering):
    (found,) = rendering.of("RayCluster")
    return found["spec"]


@pytest.fixture
def scaled(render):
    return render(KUBERAY, "serving.ray.workers.minReplicas=0", "serving.ray.workers.maxReplicas=2")


def test_a_fixed_number_of_workers_needs_no_autoscaler(render):
    fixed = render(
        KUBERAY, "serving.ray.workers.minReplicas=2", "serving.ray.workers.maxReplicas=2"
    )
    spec = cluster(fixed)
    assert spec["enableInTreeAutoscaling"] is False
    assert "autoscalerOptions" not in spec
    head = spec["headGroupSpec"]["template"]["spec"]
    assert head["serviceAccountName"] == "t-assay-serving"
    assert "t-assay-ray-autoscaler" not in fixed.names("NetworkPolicy")


def test_the_autoscaler_is_restricted_as_every_container_and_shows_rays_token(scaled):
    spec = cluster(scaled)
    assert spec["enableInTreeAutoscaling"] is True
    options = spec["autoscalerOptions"]
    (ray,) = spec["headGroupSpec"]["template"]["spec"]["containers"]
    assert options["securityContext"] == ray["securityContext"]
    assert options["env"] == ray["env"]
    assert {"name": "RAY_AUTH_MODE", "value": "token"} in options["env"]


def test_only_the_autoscaler_sees_a_token_of_kubernetes(scaled):
    spec = cluster(scaled)
    head = spec["headGroupSpec"]["template"]["spec"]
    # An account that is named must be there: KubeRay makes one where none is.
    assert "serviceAccountName" not in head
    assert head["automountServiceAccountToken"] is False
    mounts = {each["mountPath"]: each["name"] for each in spec["autoscalerOptions"]["volumeMounts"]}
    assert mounts[API] in {volume["name"] for volume in head["volumes"]}
    assert API not in {each["mountPath"] for each in head["containers"][0]["volumeMounts"]}
    (group,) = spec["workerGroupSpecs"]
    assert group["template"]["spec"]["serviceAccountName"] == "t-assay-serving"


def test_the_autoscaler_reaches_the_api_through_the_network_policies(scaled):
    policy = scaled.one("NetworkPolicy", "t-assay-ray-autoscaler")["spec"]
    head = cluster(scaled)["headGroupSpec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= head.items()
    assert [each["port"] for each in policy["egress"][0]["ports"]] == [443, 6443]


def test_ray_is_probed_by_its_ports_so_that_kuberay_adds_no_probe_that_needs_wget(scaled):
    spec = cluster(scaled)
    (worker,) = spec["workerGroupSpecs"]
    ports = {
        6379: spec["headGroupSpec"],
        int(worker["rayStartParams"]["node-manager-port"]): worker,
    }
    for port, group in ports.items():
        (container,) = group["template"]["spec"]["containers"]
        for probe in ("livenessProbe", "readinessProbe"):
            assert container[probe]["tcpSocket"] == {"port": port}


def test_workers_of_the_chart_are_probed_where_they_listen(render):
    found = render("serving.ray.mode=chart")
    for name, start in (("head", "--port=6379"), ("worker", "--node-manager-port=6380")):
        pod = found.one("Deployment", f"t-assay-ray-{name}")["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert start in container["command"]
        assert container["readinessProbe"]["tcpSocket"]["port"] == int(start.rpartition("=")[2])


def test_another_template_is_another_cluster_because_kuberay_replaces_no_pod(render):
    def name(*sets):
        found = render(KUBERAY, *sets)
        (cluster,) = found.names("RayCluster")
        address = f"{cluster}-head-svc.ns.svc:6379"
        assert found.settings("serving")["ray_address"] == address
        return cluster

    first = name()
    assert name("serving.ray.workers.replicas=3") == first
    assert name("serving.ray.workers.maxReplicas=9") == first
    assert name("image.tag=next") != first
    assert name("serving.ray.head.resources.limits.memory=4Gi") != first


def test_the_longest_name_of_a_cluster_is_one_that_kuberay_takes(render):
    (cluster,) = render(KUBERAY, f"fullnameOverride={'a' * 60}").of("RayCluster")
    assert len(cluster["metadata"]["name"]) <= 53
