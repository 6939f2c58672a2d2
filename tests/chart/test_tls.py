"""TLS and mTLS: off without a trace; then certificates, and settings that name their files."""

from __future__ import annotations

import pytest

OWN = ("tls.mode=secrets", "tls.secrets.name=given")
MANAGED = ("tls.mode=certManager", "tls.certManager.issuerRef.name=ca")
KEYS = {"tls_cert_file", "tls_key_file", "tls_client_ca_file"}
PEER_KEYS = {"peer_ca_file", "peer_cert_file", "peer_key_file"}
SERVICES = ("compression", "serving", "evaluator-ethics")


def volume(rendering, kind, name):
    """Names of the Secret that a component's TLS volume mounts."""
    pod = rendering.one(kind, name)["spec"]["template"]["spec"]
    return [v["secret"]["secretName"] for v in pod["volumes"] if v["name"] == "tls"]


def test_off_leaves_no_trace(render):
    found = render()
    assert not found.of("Certificate")
    for component in ("coordinator", *SERVICES):
        assert not (KEYS | PEER_KEYS) & found.settings(component).keys()
    assert volume(found, "Deployment", "t-assay-serving") == []


def test_services_ask_each_other_for_certificates_and_the_coordinator_asks_no_client(render):
    found = render(*OWN)
    for component in SERVICES:
        assert found.settings(component)["tls_client_ca_file"] == "/etc/assay/tls/ca.crt"
    coordinator = found.settings("coordinator")
    assert "tls_client_ca_file" not in coordinator
    assert coordinator.keys() >= PEER_KEYS | {"tls_cert_file", "tls_key_file"}


def test_all_asks_the_clients_of_the_coordinator_too(render):
    settings = render(*OWN, "tls.clientCertificates=all").settings("coordinator")
    assert settings["tls_client_ca_file"] == "/etc/assay/tls/ca.crt"


def test_none_encrypts_without_client_certificates(render):
    found = render(*OWN, "tls.clientCertificates=none")
    for component in ("coordinator", *SERVICES):
        settings = found.settings(component)
        assert settings["tls_cert_file"] == "/etc/assay/tls/tls.crt"
        assert settings["peer_ca_file"] == "/etc/assay/tls/ca.crt"
        assert not {"tls_client_ca_file", "peer_cert_file"} & settings.keys()


def test_health_stays_on_its_own_plaintext_port(render):
    assert render(*OWN).settings("serving")["health_listen"] == "0.0.0.0:7600"


def test_a_component_may_have_a_secret_of_its_own(render):
    found = render(*OWN, "tls.secrets.byComponent.evaluator-ethics=special")
    assert volume(found, "Deployment", "t-assay-evaluator-ethics") == ["special"]
    assert volume(found, "Deployment", "t-assay-evaluator-fairness") == ["given"]


def test_cert_manager_makes_one_certificate_per_component_with_its_service_names(render):
    found = render(*MANAGED)
    components = {*found.names("Deployment"), *found.names("StatefulSet"), "t-assay-client"}
    assert found.names("Certificate") == {f"{name}-tls" for name in components}
    certificate = found.one("Certificate", "t-assay-evaluator-adv-demonstration-tls")["spec"]
    assert certificate["secretName"] == "t-assay-evaluator-adv-demonstration-tls"
    assert "t-assay-evaluator-adv-demonstration.ns.svc" in certificate["dnsNames"]
    assert set(certificate["usages"]) == {"server auth", "client auth"}
    assert volume(found, "Deployment", "t-assay-evaluator-adv-demonstration") == [
        certificate["secretName"]
    ]


@pytest.mark.parametrize(
    ("clients", "keys"),
    [("services", {"ca.crt"}), ("all", {"ca.crt", "tls.crt", "tls.key"})],
)
def test_the_test_pod_shows_a_certificate_only_where_it_is_asked(render, clients, keys):
    pod = render(*MANAGED, f"tls.clientCertificates={clients}").one("Pod", "t-assay-test-study")
    files = {
        e["value"].removeprefix("/etc/assay/tls/")
        for e in pod["spec"]["containers"][0]["env"]
        if e["name"].startswith("ASSAY_CLI_PEER")
    }
    assert files == keys
    (secret,) = (v["secret"] for v in pod["spec"]["volumes"] if v["name"] == "tls")
    assert secret["secretName"] == "t-assay-client-tls"
    assert ("items" in secret) == (clients == "services")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (("tls.mode=secrets",), "needs tls.secrets.name"),
        (("tls.mode=certManager",), "needs tls.certManager.issuerRef"),
        (("tls.mode=secrets", "tls.secrets.byComponent.serving=x"), "tls.secrets.byComponent."),
    ],
)
def test_a_mode_without_its_certificates_is_refused(refused, values, reason):
    assert reason in refused(*values)


def test_an_ingress_speaks_tls_to_a_coordinator_that_does(render):
    ingress = ("ingress.enabled=true", "ingress.host=assay.example.com")
    protocol = "nginx.ingress.kubernetes.io/backend-protocol"
    for sets, expected in ((ingress, "GRPC"), ((*ingress, *OWN), "GRPCS")):
        (manifest,) = render(*sets).of("Ingress")
        assert manifest["metadata"]["annotations"][protocol] == expected


@pytest.mark.parametrize(("sets", "protocol"), [((), "kubernetes.io/h2c"), (OWN, "https")])
def test_services_tell_meshes_and_gateways_what_they_speak(render, sets, protocol):
    for name in ("t-assay-coordinator", "t-assay-serving"):
        (port,) = (
            p for p in render(*sets).one("Service", name)["spec"]["ports"] if p["name"] == "grpc"
        )
        assert port["appProtocol"] == protocol
