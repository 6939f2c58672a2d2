"""The chart's Ingress behind a real controller: gRPC and the OpenAI-compatible door from outside.

ASSAY_E2E_INGRESS names the controller's Service, NAMESPACE/NAME; without it Traefik's, which serves
the classes `nginx` (by the annotations of ingress-nginx, the chart's default) and `traefik`.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from tests.cluster.cluster import ETHICS_ALONE, Client, Release, eventually, run, study
from tests.cluster.conftest import client_in, installed
from tests.cluster.operators.conftest import need

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

CONTROLLER, SERVICE = os.environ.get("ASSAY_E2E_INGRESS", "traefik/traefik").split("/")
HOST, OPENAI = "assay.example.com", "openai.example.com"
NAMESPACE = "team-outside"
AUTHORITY = "/tmp/public.crt"

# What a client of one's own does with TLS: prints the status of a call.
LIST = """
import grpc, sys
from assay.coordination.v1 import coordination_pb2 as api
from assay.coordination.v1.coordination_pb2_grpc import CoordinationServiceStub
server, authority, token = sys.argv[1:]
trust = grpc.ssl_channel_credentials(open(authority, "rb").read())
stub = CoordinationServiceStub(grpc.secure_channel(server, trust))
header = [("authorization", "Bearer " + token)] if token else []
try:
    stub.ListStudies(api.ListStudiesRequest(), metadata=header, timeout=30)
    print("OK")
except grpc.RpcError as error:
    print(error.code().name)
"""
ASK = """
import json, ssl, sys, urllib.error, urllib.request
url, authority, token, body = sys.argv[1:]
headers = {"content-type": "application/json"}
if token:
    headers["authorization"] = "Bearer " + token
request = urllib.request.Request(url, body.encode() or None, headers)
try:
    answer = urllib.request.urlopen(request, context=ssl.create_default_context(cafile=authority))
    print(answer.status); print(answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code)
"""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Whom the outside trusts."""
    return trustme.CA()


@pytest.fixture(scope="module")
def release(images: tuple[str, str], authority: trustme.CA) -> Iterator[Release]:
    """A release behind the controller, which alone may call it."""
    need("ingressclass", "nginx", "Ingress controller")
    name = "namespaceSelector.matchLabels.kubernetes\\.io/metadata\\.name"
    sets = (
        *ETHICS_ALONE, "ingress.enabled=true", "ingress.className=nginx", f"ingress.host={HOST}",
        "serving.http.enabled=true", f"ingress.http.host={OPENAI}",
        "ingress.tls.secretName=public", "ingress.http.secretName=public-openai",
        f"networkPolicy.clients[0].{name}={CONTROLLER}",
        f"serving.http.clients[0].{name}={CONTROLLER}",
    )  # fmt: skip
    with installed(Release("assay-ingress", *images, sets)) as found:
        for secret, host in (("public", HOST), ("public-openai", OPENAI)):
            found.kubectl("apply", "-f", "-", stdin=json.dumps(pair(authority, secret, host)))
        yield found


def pair(authority: trustme.CA, name: str, host: str) -> dict[str, object]:
    """A Secret with a certificate of a host."""
    issued = authority.issue_cert(host)
    files = {
        "tls.crt": b"".join(each.bytes() for each in issued.cert_chain_pems),
        "tls.key": issued.private_key_pem.bytes(),
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name},
        "data": {key: base64.b64encode(content).decode() for key, content in files.items()},
    }


@pytest.fixture(scope="module")
def address() -> str:
    """Where the controller listens, as a pod reaches it."""
    found = run("kubectl", "-n", CONTROLLER, "get", "service", SERVICE, "-o", "json")
    assert found.code == 0, found.err
    return str(json.loads(found.out)["spec"]["clusterIP"])


@pytest.fixture(scope="module")
def client(
    release: Release, images: tuple[str, str], authority: trustme.CA, address: str
) -> Iterator[Client]:
    """A client that knows the public names and the public authority, and a token."""
    with client_in(NAMESPACE, images, {address: (HOST, OPENAI)}):
        where = (f"ASSAY_CLI_SERVER={HOST}:443", f"ASSAY_PEER_CA_FILE={AUTHORITY}")
        outside = Client(NAMESPACE, (*where, f"ASSAY_CLI_TOKEN={release.token}"))
        trust(outside, authority.cert_pem.bytes().decode())
        yield outside


def trust(client: Client, pem: str) -> None:
    """Writes the authority that the client trusts."""
    assert client.exec("sh", "-c", f"cat > {AUTHORITY}", stdin=pem).code == 0


def status(client: Client, token: str) -> str:
    """What the coordinator says to a token."""
    ran = client.exec("python", "-c", LIST, f"{HOST}:443", AUTHORITY, token)
    assert ran.code == 0, ran.err
    return ran.out.strip()


def ask(client: Client, path: str, token: str, body: str = "") -> list[str]:
    """Status and lines of the OpenAI-compatible door's answer."""
    url = f"https://{OPENAI}/v1/{path}"
    ran = client.exec("python", "-c", ASK, url, AUTHORITY, token, body)
    assert ran.code == 0, ran.err
    return ran.out.splitlines()


def answers(client: Client, release: Release) -> None:
    """Waits until the controller has taken up the Ingress."""
    eventually(lambda: status(client, release.token) == "OK", 120, "the coordinator's answer")


def test_a_token_is_accepted_and_a_wrong_one_refused_through_the_ingress(
    release: Release, client: Client
) -> None:
    answers(client, release)
    assert status(client, "") == "UNAUTHENTICATED"
    assert status(client, "not-the-token") == "UNAUTHENTICATED"


def test_an_ingress_of_another_authority_is_not_believed(release: Release, client: Client) -> None:
    other = trustme.CA().cert_pem.bytes().decode()
    assert client.exec("sh", "-c", "cat > /tmp/other.crt", stdin=other).code == 0
    ran = client.exec("python", "-c", LIST, f"{HOST}:443", "/tmp/other.crt", release.token)
    assert ran.out.strip() == "UNAVAILABLE"


def test_a_study_is_created_watched_and_reported_through_the_ingress(
    release: Release, client: Client
) -> None:
    answers(client, release)
    text = json.dumps(study("outside", 4, {"magnitude": {"sparsity": 0.4}}, dimensions=["ethics"]))
    assert client.exec("sh", "-c", "cat > /tmp/study.yaml", stdin=text).code == 0
    ran = client.exec("assay", "study", "run", "-f", "/tmp/study.yaml", seconds=900)
    assert ran.code == 0, ran.out + ran.err + release.state()


def test_grpcurl_lists_the_services_as_the_documents_say(
    release: Release, address: str, authority: trustme.CA, tmp_path: Path
) -> None:
    grpcurl = shutil.which("grpcurl")
    if grpcurl is None:
        pytest.skip("grpcurl is not on PATH")
    file = tmp_path / "public.crt"
    authority.cert_pem.write_to_path(str(file))
    header = f"authorization: Bearer {release.token}"
    ran = run(
        grpcurl, "-cacert", str(file), "-authority", HOST, "-H", header, f"{address}:443", "list"
    )
    assert ran.code == 0, ran.err
    assert "assay.coordination.v1.CoordinationService" in ran.out.split()


def test_the_openai_door_answers_and_streams_through_the_ingress(
    release: Release, client: Client
) -> None:
    assert ask(client, "models", "") == ["401"]
    code, *lines = ask(client, "models", release.token)
    assert code == "200"
    # The study before left one resident.
    model = json.loads("".join(lines))["data"][0]["id"]
    body = {"model": model, "prompt": "The almanac says", "max_tokens": 8, "stream": True}
    code, *lines = ask(client, "completions", release.token, json.dumps(body))
    assert code == "200"
    assert [each for each in lines if each][-1] == "data: [DONE]"


def test_traefiks_own_class_wants_the_scheme_at_the_service(
    release: Release, client: Client
) -> None:
    need("ingressclass", "traefik", "Traefik")
    scheme = "traefik\\.ingress\\.kubernetes\\.io/service\\.serversscheme"
    spoken = f"coordinator.service.annotations.{scheme}=h2c"
    release.upgrade("ingress.className=traefik", spoken)
    answers(client, release)
    assert status(client, "not-the-token") == "UNAUTHENTICATED"


def test_cert_manager_issues_the_public_certificate_and_the_controller_speaks_tls_to_the_services(
    release: Release, client: Client, issuer: str
) -> None:
    named = (f"issuerRef.name={issuer}", "issuerRef.kind=ClusterIssuer")
    release.upgrade(
        *(f"ingress.tls.{each}" for each in named), "ingress.tls.secretName=issued",
        "tls.mode=certManager", *(f"tls.certManager.{each}" for each in named),
    )  # fmt: skip
    release.kubectl("wait", "--for=condition=Ready", "certificate", "--all", "--timeout=120s")
    trust(client, base64.b64decode(release.secret("issued")["ca.crt"]).decode())
    answers(client, release)
    assert status(client, "not-the-token") == "UNAUTHENTICATED"
