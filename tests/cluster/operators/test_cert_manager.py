"""tls.mode=certManager with a real cert-manager: certificates, mTLS, renewals, another authority.

Certificates live for an hour, the shortest that cert-manager issues, and are renewed from two
minutes of age on: all the time.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography import x509
from tests.cluster.cluster import (
    ETHICS_ALONE,
    Client,
    Release,
    eventually,
    ready,
    run,
    study,
    whole,
)
from tests.cluster.conftest import client_of, installed
from tests.cluster.operators.conftest import ISSUER, RESOURCES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

NAMESPACE = "assay-certificates"
COMPONENTS = ("coordinator", "compression", "serving", "evaluator-ethics")
# The certificate that a listener shows, from a pod inside the cluster.
SHOWN = "import ssl, sys; print(ssl.get_server_certificate((sys.argv[1], 7400), timeout=10))"


def certificate_of(release: Release, secret: str) -> x509.Certificate:
    """What cert-manager wrote into a Secret of the release."""
    return x509.load_pem_x509_certificate(base64.b64decode(release.secret(secret)["tls.crt"]))


def authority_of(namespace: str, secret: str) -> str:
    """The authority in a Secret, as PEM."""
    where = ("kubectl", "-n", namespace, "get", "secret", secret, "-o", "json")
    return base64.b64decode(json.loads(run(*where).out)["data"]["ca.crt"]).decode()


def renew(namespace: str, name: str) -> None:
    """Has a certificate issued again, as `cmctl renew` does."""
    asked = {"type": "Issuing", "status": "True", "reason": "ManuallyTriggered", "message": "test"}
    where = ("kubectl", "-n", namespace, "patch", "certificate", name)
    found = json.loads(
        run("kubectl", "-n", namespace, "get", "certificate", name, "-o", "json").out
    )
    kept = [each for each in found["status"]["conditions"] if each["type"] != "Issuing"]
    patch = json.dumps({"status": {"conditions": [*kept, asked]}})
    done = run(*where, "--subresource=status", "--type=merge", "-p", patch)
    assert done.code == 0, done.err


@pytest.fixture(scope="module")
def release(images: tuple[str, str], issuer: str) -> Iterator[Release]:
    """Clients of the coordinator must show a certificate too."""
    manager = "tls.certManager"
    sets = (
        *ETHICS_ALONE, "tls.mode=certManager", "tls.clientCertificates=all",
        f"{manager}.issuerRef.name={issuer}", f"{manager}.issuerRef.kind=ClusterIssuer",
        f"{manager}.duration=1h", f"{manager}.renewBefore=58m",
    )  # fmt: skip
    with installed(Release(NAMESPACE, *images, sets)) as found:
        yield found


@pytest.fixture
def client(release: Release, client_pod: str) -> Client:
    """The client, with the certificate that the chart has issued for clients."""
    plain = client_of(release, client_pod)
    names = ("ca.crt", "tls.crt", "tls.key")
    secret = release.secret("assay-client-tls")
    for name in names:
        text = base64.b64decode(secret[name]).decode()
        assert plain.exec("sh", "-c", f"umask 77; cat > /tmp/{name}", stdin=text).code == 0
    keys = ("CA", "CERT", "KEY")
    files = tuple(
        f"ASSAY_CLI_PEER_{key}_FILE=/tmp/{name}" for key, name in zip(keys, names, strict=True)
    )
    return replace(plain, environment=(*plain.environment, *files))


def shown(release: Release, client: Client) -> dict[str, x509.Certificate | None]:
    """The certificate that every component shows to a new connection."""
    found: dict[str, x509.Certificate | None] = {}
    for component in COMPONENTS:
        (pod,) = release.pods(component)
        ran = client.exec("python", "-c", SHOWN, pod["status"]["podIP"])
        found[component] = (
            x509.load_pem_x509_certificate(ran.out.encode()) if not ran.code else None
        )
    return found


def starts(release: Release) -> dict[str, tuple[str, int]]:
    """Uid and restarts of every pod."""
    return {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]: (
            pod["metadata"]["uid"],
            pod["status"]["containerStatuses"][0]["restartCount"],
        )
        for pod in release.pods()
    }


def test_every_component_has_a_certificate_of_its_own_name(release: Release, issuer: str) -> None:
    for component in (*COMPONENTS, "client"):
        certificate = certificate_of(release, f"assay-{component}-tls")
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert f"assay-{component}.{NAMESPACE}.svc" in names.get_values_for_type(x509.DNSName)
        assert certificate.issuer.rfc4514_string() == f"CN={issuer}"


def test_a_study_runs_over_mutual_tls_and_a_caller_without_a_certificate_is_refused(
    release: Release, client: Client
) -> None:
    finished = client.finish(
        client.create(study("tls", 4, {"magnitude": {"sparsity": 0.3}}, dimensions=["ethics"])), 900
    )
    assert finished["meta"]["state"] == "STATE_SUCCEEDED", release.state()
    assert whole(finished)
    models = (
        "env",
        f"ASSAY_CLI_SERVING=assay-serving.{NAMESPACE}.svc:7400",
        "assay",
        "model",
        "list",
    )
    studies = ("assay", "study", "list")
    without = (each for each in client.environment if "_CERT_" not in each and "_KEY_" not in each)
    stranger = replace(client, environment=tuple(without))
    for command in (models, studies):
        assert client.exec(*command).code == 0
        assert stranger.exec(*command).code != 0
    plaintext = (each for each in stranger.environment if "_PEER_" not in each)
    assert replace(client, environment=tuple(plaintext)).exec(*studies).code != 0


def test_helm_test_shows_the_certificate_of_clients(release: Release) -> None:
    done = release.helm("test", "assay", "--timeout", "30m", "--logs", seconds=1900)
    assert done.code == 0, done.out + done.err + release.state()


def test_renewals_are_taken_up_without_a_restart(release: Release, client: Client) -> None:
    before, pods = shown(release, client), starts(release)
    assert None not in before.values()

    def renewed() -> bool:
        now = shown(release, client)
        return all(
            certificate is not None and certificate.serial_number != before[component].serial_number
            for component, certificate in now.items()
        )

    eventually(renewed, 600, "a renewed certificate of every listener", every=10)
    recipe = {"magnitude": {"sparsity": [0.2, 0.4]}}
    finished = client.finish(client.create(study("renewed", 4, recipe, dimensions=["ethics"])), 900)
    assert finished["meta"]["state"] == "STATE_SUCCEEDED", release.state()
    assert starts(release) == pods


def test_another_authority_is_taken_up_without_a_restart(release: Release, client: Client) -> None:
    old = authority_of(RESOURCES, ISSUER)
    pods = starts(release)
    renew(RESOURCES, ISSUER)
    new = eventually(
        lambda: (now := authority_of(RESOURCES, ISSUER)) != old and now, 120, "a new authority"
    )
    mounted = "cat /etc/assay/tls/ca.crt"

    def everywhere() -> bool:
        return all(
            release.shell(
                pod["metadata"]["name"], pod["metadata"]["labels"]["assay.dev/service"], mounted
            )
            == new.strip()
            for pod in release.pods()
        )

    eventually(everywhere, 600, "the new authority in every pod", every=10)
    # A connection of before would go on with what it was made with.
    release.delete_pod("serving")
    release.delete_pod("compression")
    secret = release.secret("assay-client-tls")
    for name in ("ca.crt", "tls.crt", "tls.key"):
        text = base64.b64decode(secret[name]).decode()
        assert client.exec("sh", "-c", f"cat > /tmp/{name}", stdin=text).code == 0
    recipe = {"magnitude": {"sparsity": 0.7}}
    finished = client.finish(client.create(study("moved", 4, recipe, dimensions=["ethics"])), 900)
    assert finished["meta"]["state"] == "STATE_SUCCEEDED", release.state()
    assert all(ready(pod) for pod in release.pods())
    kept = {"coordinator", "evaluator-ethics"}
    now = starts(release)
    assert {each: now[each] for each in kept} == {each: pods[each] for each in kept}
