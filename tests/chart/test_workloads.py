"""What each service is given: settings, probes, devices, storage, identity."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

CHART = Path(__file__).parents[2] / "charts" / "assay"
DIMENSIONS = yaml.safe_load((CHART / "values.yaml").read_text())["evaluators"]["dimensions"]
EVALUATORS = [f"evaluator-{dimension.replace('_', '-')}" for dimension in DIMENSIONS]
COMPONENTS = {
    "coordinator": "StatefulSet",
    "compression": "Deployment",
    "serving": "Deployment",
    **dict.fromkeys(EVALUATORS, "Deployment"),
}


def pod_of(rendering, component):
    kind = COMPONENTS[component]
    return rendering.one(kind, f"t-assay-{component}")["spec"]["template"]


@pytest.mark.parametrize("component", COMPONENTS)
def test_probes_speak_grpc_to_the_health_only_port(render, component):
    found = render()
    container = pod_of(found, component)["spec"]["containers"][0]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["grpc"] == {"port": 7600}
    assert found.settings(component)["health_listen"] == "0.0.0.0:7600"


def test_the_startup_probe_waits_as_long_as_it_is_told(render):
    found = render("serving.startupSeconds=900")
    probe = pod_of(found, "serving")["spec"]["containers"][0]["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 900


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_service_authenticates_and_shares_one_store(render, component):
    settings = render().settings(component)
    assert settings["auth_tokens_file"] == "/etc/assay/tokens/tokens.yaml"
    assert settings["data_uri"] == "file:///var/lib/assay/data"


def test_addresses_follow_dns_names_so_that_clients_see_every_replica(render):
    settings = render().settings("coordinator")
    assert settings["serving"] == "dns:///t-assay-serving.ns.svc:7400"
    assert settings["evaluators"]["ethics"] == "dns:///t-assay-evaluator-ethics.ns.svc:7400"
    service = render().one("Service", "t-assay-evaluator-ethics")["spec"]
    assert service["clusterIP"] == "None"


def test_a_changed_setting_rolls_only_its_own_pods(render):
    before, after = render(), render("coordinator.settings.max_active_studies=3")
    checksum = "checksum/config"
    changed = {
        component
        for component in COMPONENTS
        if pod_of(before, component)["metadata"]["annotations"][checksum]
        != pod_of(after, component)["metadata"]["annotations"][checksum]
    }
    assert changed == {"coordinator"}
    assert after.settings("coordinator")["max_active_studies"] == 3


def test_a_coordinator_replica_takes_up_the_workflows_of_its_name(render):
    env = pod_of(render(), "coordinator")["spec"]["containers"][0]["env"]
    (identity,) = (e for e in env if e["name"] == "ASSAY_COORDINATOR_EXECUTOR_ID")
    assert identity["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"


def test_the_coordinator_gives_as_many_turns_as_its_peers_have_places(render):
    found = render("compression.settings.workers=2", "serving.settings.max_engines=3")
    settings = found.settings("coordinator")
    assert settings["compression_concurrency"] == 2
    assert settings["engine_concurrency"] == 3
    assert "engine_concurrency" not in render().settings("coordinator")


def test_an_evaluator_overrides_defaults_for_itself_alone(render):
    found = render(
        "evaluators.defaults.settings.in_flight=64",
        "evaluators.dimensions.ethics.settings.in_flight=8",
    )
    assert found.settings("evaluator-ethics")["in_flight"] == 8
    assert found.settings("evaluator-fairness")["in_flight"] == 64


def test_a_new_dimension_is_one_line_of_values(render):
    found = render("evaluators.dimensions.my_own.enabled=true")
    assert found.settings("evaluator-my-own")["dimension"] == "my_own"
    assert "my_own" in found.settings("coordinator")["evaluators"]


def test_embedded_engines_get_the_gpu_in_the_gateways_pod(render):
    found = render("serving.gpu.enabled=true", "serving.gpu.resource=nvidia.com/mig-1g.10gb")
    container = pod_of(found, "serving")["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/mig-1g.10gb"] == 1


def test_ray_workers_get_the_gpus_and_the_gateway_none(render):
    found = render("serving.gpu.enabled=true", "serving.gpu.count=2", "serving.ray.mode=chart")
    worker = found.one("Deployment", "t-assay-ray-worker")["spec"]["template"]["spec"]
    assert worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert "--num-gpus=2" in worker["containers"][0]["command"]
    gateway = pod_of(found, "serving")["spec"]
    assert "nvidia.com/gpu" not in gateway["containers"][0]["resources"]["limits"]
    (raylet,) = gateway["initContainers"]
    assert {"--num-cpus=0", "--num-gpus=0"} <= set(raylet["command"])
    assert raylet["restartPolicy"] == "Always"
    # Ray's driver finds its raylet by looking at processes.
    assert gateway["shareProcessNamespace"] is True


def test_compression_computes_on_the_device_that_it_has(render):
    assert render().settings("compression")["device"] == "cpu"
    found = render("compression.gpu.enabled=true")
    assert found.settings("compression")["device"] == "cuda"
    limits = pod_of(found, "compression")["spec"]["containers"][0]["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == 1


@pytest.mark.parametrize("component", ["serving", "compression"])
def test_shared_memory_is_a_volume_of_the_stated_size(render, component):
    found = render(f"{component}.shmSize=3Gi")
    volumes = {v["name"]: v for v in pod_of(found, component)["spec"]["volumes"]}
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "3Gi"}


def test_models_and_packs_are_read_only_and_allowed(render):
    model = "models.volumes[0]"
    pack = "packs.volumes[0]"
    found = render(
        f"{model}.name=m", f"{model}.claimName=m", f"{model}.mountPath=/models",
        f"{pack}.name=p", f"{pack}.claimName=p", f"{pack}.mountPath=/packs",
    )  # fmt: skip
    assert "/models" in found.settings("compression")["model_prefixes"]
    assert found.settings("evaluator-ethics")["pack_prefixes"] == ["/packs"]
    mounts = pod_of(found, "compression")["spec"]["containers"][0]["volumeMounts"]
    assert {"name": "m", "mountPath": "/models", "readOnly": True} in mounts


def test_sqlite_has_a_volume_per_owner_and_postgres_none(render):
    homes = {n for n in render().names("PersistentVolumeClaim") if n.endswith("-home")}
    assert homes == {f"t-assay-{component}-home" for component in COMPONENTS}
    found = render("database.type=postgres", "database.postgres.existingSecret=urls")
    # Compression keeps the resumable state of its jobs there.
    assert {n for n in found.names("PersistentVolumeClaim") if n.endswith("-home")} == {
        "t-assay-compression-home"
    }


@pytest.mark.parametrize("component", COMPONENTS)
def test_postgres_urls_come_from_the_secret(render, component):
    found = render("database.type=postgres", "database.postgres.existingSecret=urls")
    env = pod_of(found, component)["spec"]["containers"][0]["env"]
    (url,) = (e for e in env if e["name"] == "ASSAY_DATABASE_URL")
    dimension = found.settings(component).get("dimension")
    key = f"evaluator-{dimension}" if dimension else component
    assert url["valueFrom"]["secretKeyRef"] == {"name": "urls", "key": key}


def test_the_pod_outlives_its_drain(render):
    found = render("grpc.drainSeconds=60")
    for component in COMPONENTS:
        assert pod_of(found, component)["spec"]["terminationGracePeriodSeconds"] > 60


def test_images_come_from_one_registry(render):
    found = render("image.registry=r.example.com/mirror", "image.tag=v9")
    images = {c["image"] for _, pod in found.pods() for c in pod["containers"]}
    names = ("coordinator", "compression", "serving", "evaluators", "cli")
    assert images == {f"r.example.com/mirror/assay/{name}:v9" for name in names}


def test_a_scorers_autoscaler_behaves_as_it_is_told(render):
    scoring = ["scoring.enabled=true", "scoring.settings.checkpoints.a=/a"]
    scoring.append("scoring.autoscaling.enabled=true")
    # Or evaluators would stay with the replicas that they know.
    assert render(*scoring).settings("scoring")["max_connection_age_seconds"] == 60
    assert "max_connection_age_seconds" not in render(*scoring[:2]).settings("scoring")
    name = "t-assay-scoring"
    assert "behavior" not in render(*scoring).one("HorizontalPodAutoscaler", name)["spec"]
    window = "scoring.autoscaling.behavior.scaleDown.stabilizationWindowSeconds"
    told = render(*scoring, f"{window}=60").one("HorizontalPodAutoscaler", name)["spec"]
    assert told["behavior"] == {"scaleDown": {"stabilizationWindowSeconds": 60}}
