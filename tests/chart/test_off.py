"""What is switched off, or needs CRDs that are not there, is not rendered; then: what is on, is."""

from __future__ import annotations

import pytest
import yaml

CRDS = (
    "monitoring.coreos.com/v1/PodMonitor",
    "monitoring.coreos.com/v1/PrometheusRule",
    "cert-manager.io/v1/Certificate",
    "keda.sh/v1alpha1/ScaledObject",
)
BUILT_IN = {
    "ConfigMap", "Deployment", "Job", "NetworkPolicy", "PersistentVolumeClaim", "Pod",
    "PodDisruptionBudget", "Role", "RoleBinding", "Service", "ServiceAccount", "StatefulSet",
}  # fmt: skip
POSTGRES = "database.type=postgres"
SCORING = ("scoring.enabled=true", "scoring.settings.checkpoints.mine=/models/mine")
BUNDLED = "database.postgres.bundled.enabled=true"


def test_a_bare_cluster_gets_built_in_kinds_only(render):
    assert {m["kind"] for m in render().manifests} <= BUILT_IN


def test_no_secret_is_ever_rendered(render):
    for sets in ((), (POSTGRES, BUNDLED), ("serving.ray.mode=chart",)):
        assert render(*sets).of("Secret") == []


@pytest.mark.parametrize(
    ("off", "kind"),
    [
        ("networkPolicy.enabled=false", "NetworkPolicy"),
        ("podDisruptionBudget.enabled=false", "PodDisruptionBudget"),
        ("auth.existingSecret=given", "Job"),
        ("auth.existingSecret=given", "Role"),
    ],
)
def test_what_is_on_by_default_can_be_switched_off(render, off, kind):
    assert render().of(kind)
    assert not render(off).of(kind)


@pytest.mark.parametrize(
    "kind",
    [
        "Ingress",
        "Certificate",
        "PodMonitor",
        "PrometheusRule",
        "RayCluster",
        "ScaledObject",
        "HorizontalPodAutoscaler",
    ],
)
def test_what_is_off_by_default_is_not_rendered(render, kind):
    assert not render().of(kind)


def test_auto_uses_the_operators_that_are_there(render):
    found = render(crds=CRDS)
    assert len(found.of("PodMonitor")) == len(found.of("PrometheusRule")) == 1


@pytest.mark.parametrize(
    ("value", "kind"), [("podMonitor", "PodMonitor"), ("rules", "PrometheusRule")]
)
def test_off_wins_over_crds_and_on_over_their_absence(render, value, kind):
    assert not render(f"metrics.{value}=off", crds=CRDS).of(kind)
    assert render(f"metrics.{value}=on").of(kind)


def test_dashboards_are_config_maps_with_the_sidecars_label(render):
    label = {"grafana_dashboard": "1"}
    labelled = [
        m
        for m in render("metrics.dashboards.enabled=true").of("ConfigMap")
        if label.items() <= m["metadata"]["labels"].items()
    ]
    assert len(labelled) >= 4
    assert not [n for n in render().names("ConfigMap") if "dashboard" in n]


def test_no_postgres_unless_bundled(render):
    assert "t-assay-postgres" not in render().names("StatefulSet")
    given = render(POSTGRES, "database.postgres.existingSecret=urls")
    assert "t-assay-postgres" not in given.names("StatefulSet")
    assert "t-assay-postgres" in render(POSTGRES, BUNDLED).names("StatefulSet")


def test_embedded_ray_has_no_pods_of_its_own(render):
    assert not [n for n in render().names("Deployment") if "ray" in n]
    chart = render("serving.ray.mode=chart")
    assert {"t-assay-ray-head", "t-assay-ray-worker"} <= chart.names("Deployment")


def test_an_evaluator_can_be_switched_off_alone(render):
    found = render("evaluators.dimensions.fairness.enabled=false")
    assert "t-assay-evaluator-fairness" not in found.names("Deployment")
    all_of_them = render().settings("coordinator")["evaluators"].keys()
    assert found.settings("coordinator")["evaluators"].keys() == all_of_them - {"fairness"}


def test_the_http_door_has_a_port_only_where_it_is_open(render):
    for sets, expected in (((), False), (("serving.http.enabled=true",), True)):
        found = render(*sets)
        assert ("http_listen" in found.settings("serving")) is expected
        ports = found.one("Service", "t-assay-serving")["spec"]["ports"]
        assert ("http" in {port["name"] for port in ports}) is expected
        rules = found.one("NetworkPolicy", "t-assay-serving")["spec"]["ingress"]
        open_ports = {port["port"] for rule in rules for port in rule["ports"]}
        assert ("http" in open_ports) is expected


def test_classifiers_run_only_where_they_are_asked_for(render):
    found = render()
    assert "t-assay-scoring" not in found.names("Deployment") | found.names("ServiceAccount")
    assert "scoring" not in found.settings("evaluator-toxicity")
    on = render(*SCORING)
    assert on.settings("evaluator-toxicity")["scoring"] == "dns:///t-assay-scoring.ns.svc:7400"
    assert on.one("Deployment", "t-assay-scoring")["spec"]["replicas"] == 1
    assert not on.of("HorizontalPodAutoscaler")


def test_a_scaled_deployment_leaves_its_replicas_to_the_autoscaler(render):
    found = render(*SCORING, "scoring.autoscaling.enabled=true")
    assert "replicas" not in found.one("Deployment", "t-assay-scoring")["spec"]
    (scaler,) = found.of("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "t-assay-scoring"


def test_keda_scales_ray_workers_where_it_is_and_can_ask_a_prometheus(render):
    chart, asked = "serving.ray.mode=chart", "serving.ray.keda.prometheusAddress=http://p:9090"
    assert not render(chart, asked).of("ScaledObject")
    assert not render(chart, crds=CRDS).of("ScaledObject")
    assert not render(asked, crds=CRDS).of("ScaledObject")
    assert not render(chart, asked, "serving.ray.keda.mode=off", crds=CRDS).of("ScaledObject")
    found = render(chart, asked, "serving.settings.max_engines=3", crds=CRDS)
    (scaler,) = found.of("ScaledObject")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "t-assay-ray-worker"
    assert "replicas" not in found.one("Deployment", "t-assay-ray-worker")["spec"]
    (trigger,) = scaler["spec"]["triggers"]
    assert trigger["metadata"]["query"].endswith(", 3)")
    assert 'namespace="ns", component="serving"' in trigger["metadata"]["query"]


def test_classifiers_keep_nothing_so_they_have_no_database_and_no_claim(render):
    found = render(*SCORING, POSTGRES, "database.postgres.existingSecret=urls")
    pod = found.one("Deployment", "t-assay-scoring")["spec"]["template"]["spec"]
    assert not [v for v in pod["volumes"] if "persistentVolumeClaim" in v]
    assert not [e for e in pod["containers"][0]["env"] if e["name"] == "ASSAY_DATABASE_URL"]


def test_traces_leave_only_for_a_named_collector(render):
    found = render()
    assert "otlp_endpoint" not in found.settings("serving")
    traced = render("tracing.otlpEndpoint=http://collector.o11y.svc:4317")
    assert traced.settings("serving")["otlp_endpoint"] == "http://collector.o11y.svc:4317"
    rules = traced.one("NetworkPolicy", "t-assay-serving")["spec"]["egress"]
    assert {"ports": [{"port": 4317, "protocol": "TCP"}]} in rules
    assert rules != found.one("NetworkPolicy", "t-assay-serving")["spec"]["egress"]


def test_the_test_study_runs_what_the_demo_pack_has_and_is_deployed(render):
    def dimensions(*sets):
        study = render(*sets).one("ConfigMap", "t-assay-test-study")["data"]["study.yaml"]
        return yaml.safe_load(study)["dimensions"]

    assert dimensions() == ["ethics", "fairness", "stereotype"]
    assert dimensions("evaluators.dimensions.ethics.enabled=false") == ["fairness", "stereotype"]
    none = ("tests.dimensions={privacy}", "evaluators.dimensions.privacy.enabled=false")
    assert "t-assay-test-study" not in render(*none).names("Pod")


def test_an_existing_claim_is_used_and_none_is_made(render):
    found = render("storage.pvc.existingClaim=mine")
    assert "t-assay-data" not in found.names("PersistentVolumeClaim")
    claims = {
        v["persistentVolumeClaim"]["claimName"]
        for _, pod in found.pods()
        for v in pod.get("volumes", [])
        if v["name"] == "data"
    }
    assert claims == {"mine"}


def test_the_http_door_is_published_under_a_host_of_its_own(render):
    ingress = ("ingress.enabled=true", "ingress.host=assay.example.com")
    door = ("serving.http.enabled=true", "ingress.http.host=openai.example.com")
    issuer = ("ingress.tls.issuerRef.name=ca", "ingress.tls.certManager=on")
    assert render(*ingress).names("Ingress") == {"t-assay-coordinator"}
    found = render(*ingress, *door, *issuer)
    rule = found.one("Ingress", "t-assay-serving")["spec"]["rules"][0]
    assert rule["host"] == "openai.example.com"
    assert rule["http"]["paths"][0]["backend"]["service"]["port"] == {"name": "http"}
    hosts = {m["spec"]["secretName"]: m["spec"]["dnsNames"] for m in found.of("Certificate")}
    assert hosts == {
        "t-assay-coordinator-ingress-tls": ["assay.example.com"],
        "t-assay-serving-ingress-tls": ["openai.example.com"],
    }


def test_certificates_of_services_and_of_the_ingress_have_secrets_of_their_own(render):
    found = render(
        "ingress.enabled=true", "ingress.host=h", "ingress.tls.issuerRef.name=public",
        "tls.mode=certManager", "tls.certManager.issuerRef.name=ca", crds=CRDS,
    )  # fmt: skip
    secrets = [m["spec"]["secretName"] for m in found.of("Certificate")]
    assert len(secrets) == len(set(secrets))


def test_a_certificate_needs_ingress_and_issuer(render):
    ingress = ("ingress.enabled=true", "ingress.host=assay.example.com")
    assert not render(*ingress, crds=CRDS).of("Certificate")
    assert render(*ingress, "ingress.tls.issuerRef.name=ca", crds=CRDS).of("Certificate")
    assert not render("ingress.tls.issuerRef.name=ca", crds=CRDS).of("Certificate")
