"""Restricted Pod Security, least privilege by edge, secrets only where they are needed."""

from __future__ import annotations

from pathlib import Path

import pytest

CHART = Path(__file__).parents[2] / "charts" / "assay"

CI_VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
EVERY_CI = pytest.mark.parametrize("values", CI_VALUES, ids=lambda path: path.stem)


def containers(pod):
    return pod.get("initContainers", []) + pod["containers"]


@EVERY_CI
def test_every_pod_meets_the_restricted_standard(render, values):
    for name, pod in render(values=values).pods():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name
        for container in containers(pod):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"]["drop"] == ["ALL"], name
        assert all("hostPath" not in volume for volume in pod.get("volumes", [])), name


@EVERY_CI
def test_no_pod_gets_a_kubernetes_token_but_the_token_job(render, values):
    for name, pod in render(values=values).pods():
        assert pod["automountServiceAccountToken"] is (name == "Job/t-assay-auth-init"), name


@EVERY_CI
def test_every_container_states_requests_and_a_memory_limit(render, values):
    for name, pod in render(values=values).pods():
        for container in containers(pod):
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name


@EVERY_CI
def test_service_variables_of_kubernetes_stay_out(render, values):
    # Kubernetes would set ASSAY_SERVING_PORT=tcp://..., which looks like a setting.
    for name, pod in render(values=values).pods():
        assert pod["enableServiceLinks"] is False, name


def test_the_token_job_may_make_a_secret_and_read_one(render):
    rules = render().one("Role", "t-assay-auth-init")["rules"]
    assert rules == [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": ["t-assay-auth"],
            "verbs": ["get"],
        },
    ]


@pytest.mark.parametrize(
    ("kind", "name", "file", "peer"),
    [
        ("StatefulSet", "t-assay-coordinator", "tokens-coordinator.yaml", "coordinator-token"),
        ("Deployment", "t-assay-compression", "tokens-compression.yaml", None),
        ("Deployment", "t-assay-serving", "tokens-serving.yaml", None),
        ("Deployment", "t-assay-evaluator-ethics", "tokens-evaluator.yaml", "evaluator-token"),
    ],
)
def test_a_pod_sees_its_own_tokens_only(render, kind, name, file, peer):
    pod = render().one(kind, name)["spec"]["template"]["spec"]
    (tokens,) = (v["secret"]["items"] for v in pod["volumes"] if v["name"] == "tokens")
    assert [item["key"] for item in tokens] == [file]
    variables = [e["valueFrom"]["secretKeyRef"]["key"] for e in pod["containers"][0]["env"]
                 if "secretKeyRef" in e.get("valueFrom", {})]  # fmt: skip
    assert variables == ([peer] if peer else [])


SCORING = ("scoring.enabled=true", "scoring.settings.checkpoints.mine=/models/mine")
EDGES = {
    "coordinator": ({"compression", "serving", "evaluator"}, set()),
    "compression": (set(), {"coordinator"}),
    "serving": (set(), {"coordinator", "evaluator"}),
    "evaluator": ({"serving"}, {"coordinator"}),
}


@pytest.mark.parametrize("service", EDGES)
def test_network_edges_are_those_of_the_architecture(render, service):
    policy = render().one("NetworkPolicy", f"t-assay-{service}")["spec"]
    to, coming = EDGES[service]
    assert policy["podSelector"]["matchLabels"]["assay.dev/service"] == service
    assert peers(policy["egress"] or [], "to") == to
    assert peers(policy["ingress"], "from") == coming


def test_only_evaluators_reach_the_classifiers(render):
    found = render(*SCORING)
    policy = found.one("NetworkPolicy", "t-assay-scoring")["spec"]
    assert peers(policy["egress"] or [], "to") == set()
    assert peers(policy["ingress"], "from") == {"evaluator"}
    evaluator = found.one("NetworkPolicy", "t-assay-evaluator")["spec"]
    assert peers(evaluator["egress"], "to") == {"serving", "scoring"}


def peers(rules, side):
    labels = (p.get("podSelector", {}).get("matchLabels", {}) for r in rules for p in r[side])
    return {found["assay.dev/service"] for found in labels if "assay.dev/service" in found}


def test_everything_else_is_denied(render):
    policy = render().one("NetworkPolicy", "t-assay-default-deny")["spec"]
    assert policy["podSelector"]["matchLabels"] == {
        "app.kubernetes.io/name": "assay",
        "app.kubernetes.io/instance": "t",
    }
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == []
    assert {p["port"] for rule in policy["egress"] for p in rule["ports"]} == {53}


def test_clients_reach_the_coordinator_only(render):
    for policy in render().of("NetworkPolicy"):
        from_clients = [
            peer
            for rule in policy["spec"].get("ingress") or []
            for peer in rule.get("from", [])
            if "assay.dev/client" in peer.get("podSelector", {}).get("matchLabels", {})
        ]
        assert bool(from_clients) == (policy["metadata"]["name"] == "t-assay-coordinator")
