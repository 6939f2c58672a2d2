"""TLS: who listens shows a certificate, who calls may have to, and a certificate is a principal."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
import yaml
from pydantic import ValidationError

from assay_core.client import call, channel, stream
from assay_core.errors import FailedPrecondition, Unauthenticated, Unavailable
from assay_core.pb import compression_pb2, compression_pb2_grpc, serving_pb2, serving_pb2_grpc
from assay_core.server import Register, Server, running
from assay_core.settings import ServiceSettings


@dataclass(frozen=True)
class Authority:
    """A certificate authority and the files of what it issued."""

    folder: Path
    ca: trustme.CA

    @property
    def ca_file(self) -> Path:
        file = self.folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(file))
        return file

    def issue(self, name: str) -> tuple[Path, Path]:
        """Certificate chain and key for a name."""
        issued = self.ca.issue_cert(name)
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        return cert, key


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, trustme.CA(key_type=trustme.KeyType.ECDSA))


@pytest.fixture
def secured(settings: ServiceSettings, authority: Authority) -> ServiceSettings:
    cert, key = authority.issue("localhost")
    return settings.model_copy(update={"tls_cert_file": cert, "tls_key_file": key})


@pytest.fixture
def mutual(secured: ServiceSettings, authority: Authority, tmp_path: Path) -> ServiceSettings:
    file = tmp_path / "tokens.yaml"
    entries = [{"name": "coordinator", "certificate": "coordinator.assay", "scopes": ["run"]}]
    file.write_text(yaml.safe_dump({"tokens": entries}))
    return secured.model_copy(
        update={"tls_client_ca_file": authority.ca_file, "auth_tokens_file": file}
    )


def caller(authority: Authority, name: str | None = None) -> ServiceSettings:
    cert, key = authority.issue(name) if name else (None, None)
    return ServiceSettings(peer_ca_file=authority.ca_file, peer_cert_file=cert, peer_key_file=key)


def at(server: Server) -> str:
    return f"localhost:{server.port}"


async def ask(target: str, settings: ServiceSettings | None) -> str:
    """Asks once and returns whom the server took the caller for."""
    async with channel(target, settings) as to:
        stub = compression_pb2_grpc.CompressionServiceStub(to)
        request = compression_pb2.GetVariantRequest(id="a")
        return (await call(stub.GetVariant, request, timeout=20)).variant.meta.project


async def test_a_caller_with_the_authority_reaches_a_tls_listener(
    secured: ServiceSettings, register: Register, authority: Authority
) -> None:
    async with running(secured, "core", register) as server:
        assert await ask(at(server), caller(authority)) == "local"


async def test_a_plaintext_call_does_not_reach_a_tls_listener(
    secured: ServiceSettings, register: Register
) -> None:
    async with running(secured, "core", register) as server:
        with pytest.raises(Unavailable):
            await ask(at(server), None)


async def test_a_server_of_another_authority_is_not_believed(
    secured: ServiceSettings, register: Register, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", trustme.CA(key_type=trustme.KeyType.ECDSA))
    async with running(secured, "core", register) as server:
        with pytest.raises(Unavailable):
            await ask(at(server), caller(other))


async def test_a_client_certificate_is_its_principal(
    mutual: ServiceSettings, register: Register, authority: Authority
) -> None:
    async with running(mutual, "core", register) as server:
        assert await ask(at(server), caller(authority, "coordinator.assay")) == "coordinator"


async def test_a_certificate_that_no_entry_names_is_unauthenticated(
    mutual: ServiceSettings, register: Register, authority: Authority
) -> None:
    async with running(mutual, "core", register) as server:
        with pytest.raises(Unauthenticated):
            await ask(at(server), caller(authority, "stranger.assay"))


async def test_a_call_without_a_certificate_does_not_reach_a_mutual_listener(
    mutual: ServiceSettings, register: Register, authority: Authority
) -> None:
    async with running(mutual, "core", register) as server:
        with pytest.raises(Unavailable):
            await ask(at(server), caller(authority))


async def test_a_renewed_certificate_is_shown_from_the_next_handshake_on(
    secured: ServiceSettings, register: Register, authority: Authority
) -> None:
    async with running(secured, "core", register) as server:
        before = ssl.get_server_certificate(("127.0.0.1", server.port))
        await ask(at(server), caller(authority))
        authority.issue("localhost")
        after = ssl.get_server_certificate(("127.0.0.1", server.port))
        assert after != before
        assert await ask(at(server), caller(authority)) == "local"


async def test_a_renewed_certificate_of_a_caller_is_shown_from_the_next_call_on(
    mutual: ServiceSettings, register: Register, authority: Authority
) -> None:
    settings = caller(authority, "stranger.assay")
    request = compression_pb2.GetVariantRequest(id="a")
    async with running(mutual, "core", register) as server, channel(at(server), settings) as to:
        stub = compression_pb2_grpc.CompressionServiceStub(to)
        with pytest.raises(Unauthenticated):
            await call(stub.GetVariant, request)
        # Another authority altogether, so that nothing of before is of use.
        successor = Authority(authority.folder, trustme.CA(key_type=trustme.KeyType.ECDSA))
        assert successor.ca_file == settings.peer_ca_file
        successor.issue("localhost")
        renewed = successor.issue("coordinator.assay")
        for old, new in zip(
            (settings.peer_cert_file, settings.peer_key_file), renewed, strict=True
        ):
            assert old is not None
            new.replace(old)
        assert (await call(stub.GetVariant, request)).variant.meta.project == "coordinator"


async def test_a_call_under_way_outlives_the_renewal_of_its_callers_certificate(
    mutual: ServiceSettings, register: Register, authority: Authority
) -> None:
    settings = caller(authority, "coordinator.assay")
    async with running(mutual, "core", register) as server, channel(at(server), settings) as to:
        variants = compression_pb2_grpc.CompressionServiceStub(to)

        async def renewing() -> AsyncIterator[serving_pb2.GenerateRequest]:
            yield serving_pb2.GenerateRequest()
            authority.issue("coordinator.assay")
            # A call that starts now is made with the new certificate.
            request = compression_pb2.GetVariantRequest(id="a")
            answer = await call(variants.GetVariant, request)
            assert answer.variant.meta.project == "coordinator"
            yield serving_pb2.GenerateRequest()

        generate = serving_pb2_grpc.ServingServiceStub(to).Generate
        answers = [each async for each in stream(generate, renewing(), timeout=20)]
        assert len(answers) == 2


def test_a_missing_file_names_its_setting(
    settings: ServiceSettings, authority: Authority, tmp_path: Path
) -> None:
    peering = settings.model_copy(update={"peer_ca_file": tmp_path / "gone.pem"})
    with pytest.raises(FailedPrecondition) as caught:
        channel("localhost:1", peering)
    assert caught.value.violations[0].field == "peer_ca_file"


@pytest.mark.parametrize(
    "given",
    [
        {"tls_cert_file": "a.pem"},
        {"peer_key_file": "a.key"},
        {"tls_client_ca_file": "ca.pem"},
    ],
)
def test_halves_of_a_key_pair_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ServiceSettings(**given)
