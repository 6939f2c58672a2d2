"""Who may call: tokens, scopes, projects; and never an open port without tokens."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from assay_core.auth import Principal, Scope, load_tokens, scope_of
from assay_core.client import call, channel, stream
from assay_core.errors import (
    AssayError,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    Unauthenticated,
)
from assay_core.pb import (
    compression_pb2,
    compression_pb2_grpc,
    coordination_pb2,
    evaluation_pb2,
    pack_pb2,
    scoring_pb2,
    serving_pb2,
)
from assay_core.server import Register, running
from assay_core.settings import ServiceSettings

READER, RUNNER, ADMIN = (
    "reader-token-0123456789",
    "runner-token-0123456789",
    "admin-token-0123456789",
)


@pytest.fixture
def guarded(settings: ServiceSettings, tmp_path: Path) -> ServiceSettings:
    entries = [
        {"name": "reader", "token": READER, "scopes": ["read"]},
        {
            "name": "runner",
            "sha256": hashlib.sha256(RUNNER.encode()).hexdigest(),
            "scopes": ["read", "run"],
            "projects": ["default", "alpha"],
        },
        {"name": "admin", "token": ADMIN, "scopes": ["admin"], "projects": ["*"]},
    ]
    file = tmp_path / "tokens.yaml"
    file.write_text(yaml.safe_dump({"tokens": entries}))
    return settings.model_copy(update={"auth_tokens_file": file})


def create(project: str = "") -> compression_pb2.CreateVariantRequest:
    return compression_pb2.CreateVariantRequest(
        project=project, model={"uri": "demo"}, recipe={"dense": {}}
    )


async def test_a_known_token_is_its_principal(guarded: ServiceSettings, register: Register) -> None:
    async with running(guarded, "core", register) as server, channel(server.address, READER) as to:
        stub = compression_pb2_grpc.CompressionServiceStub(to)
        answer = await call(stub.GetVariant, compression_pb2.GetVariantRequest(id="a"))
        assert answer.variant.meta.project == "reader"


@pytest.mark.parametrize(
    ("token", "reason"), [(None, "TOKEN_MISSING"), ("wrong-token-0123456789", "TOKEN_UNKNOWN")]
)
async def test_calls_without_a_known_token_are_refused(
    guarded: ServiceSettings, register: Register, token: str | None, reason: str
) -> None:
    async with running(guarded, "core", register) as server, channel(server.address, token) as to:
        stub = compression_pb2_grpc.CompressionServiceStub(to)
        with pytest.raises(Unauthenticated) as caught:
            await call(stub.GetVariant, compression_pb2.GetVariantRequest(id="a"))
        assert caught.value.reason == reason
        assert token is None or token not in str(caught.value)
        with pytest.raises(Unauthenticated):
            async for _ in stream(
                stub.WatchVariant, compression_pb2.WatchVariantRequest(id="a"), timeout=5
            ):
                pass


async def test_reflection_needs_a_token_and_health_does_not(
    guarded: ServiceSettings, register: Register
) -> None:
    async def ask():
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    async with running(guarded, "core", register) as server, channel(server.address) as to:
        answer = await call(health_pb2_grpc.HealthStub(to).Check, health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflection = reflection_pb2_grpc.ServerReflectionStub(to)
        with pytest.raises(Unauthenticated):
            async for _ in stream(reflection.ServerReflectionInfo, ask(), timeout=5):
                pass


@pytest.mark.parametrize(
    ("token", "project", "error", "reason"),
    [
        (READER, "", PermissionDenied, "SCOPE_TOO_LOW"),
        (RUNNER, "", None, ""),
        (RUNNER, "alpha", None, ""),
        (RUNNER, "beta", PermissionDenied, "PROJECT_NOT_ALLOWED"),
        (ADMIN, "beta", None, ""),
    ],
)
async def test_scope_and_project_decide(
    guarded: ServiceSettings,
    register: Register,
    token: str,
    project: str,
    error: type[AssayError] | None,
    reason: str,
) -> None:
    async with running(guarded, "core", register) as server, channel(server.address, token) as to:
        stub = compression_pb2_grpc.CompressionServiceStub(to)
        if error is None:
            await call(stub.CreateVariant, create(project))
            return
        with pytest.raises(error) as caught:
            await call(stub.CreateVariant, create(project))
        assert caught.value.reason == reason


async def test_deleting_shared_artifacts_needs_admin(
    guarded: ServiceSettings, register: Register
) -> None:
    request = compression_pb2.DeleteVariantRequest(id="a")
    async with running(guarded, "core", register) as server:
        async with channel(server.address, RUNNER) as to:
            stub = compression_pb2_grpc.CompressionServiceStub(to)
            with pytest.raises(PermissionDenied, match="needs admin"):
                await call(stub.DeleteVariant, request)
        async with channel(server.address, ADMIN) as to:
            await call(compression_pb2_grpc.CompressionServiceStub(to).DeleteVariant, request)


async def test_a_peer_token_travels_from_settings(
    guarded: ServiceSettings, register: Register, tmp_path: Path
) -> None:
    caller = ServiceSettings(home=tmp_path, peer_token=RUNNER)
    assert RUNNER not in repr(caller)
    async with running(guarded, "core", register) as server, channel(server.address, caller) as to:
        await call(compression_pb2_grpc.CompressionServiceStub(to).CreateVariant, create())


async def test_a_peers_refusal_of_our_token_is_not_the_callers_fault(
    settings: ServiceSettings, guarded: ServiceSettings, register: Register
) -> None:
    async with (
        running(guarded, "peer", register) as peer,
        running(settings, "core", register) as server,
        channel(server.address) as to,
    ):
        stub = compression_pb2_grpc.CompressionServiceStub(to)
        request = compression_pb2.GetVariantRequest(id="peer")

        async def through() -> compression_pb2.GetVariantResponse:
            return await call(
                lambda message, timeout: stub.GetVariant(
                    message, timeout=timeout, metadata=(("x-test-peer", peer.address),)
                ),
                request,
            )

        with pytest.raises(FailedPrecondition) as caught:
            await through()
        assert caught.value.reason == "PEER_REFUSED"
        assert caught.value.metadata == {"peer_reason": "TOKEN_MISSING"}


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:7400", "assay.example:7400"])
async def test_no_server_listens_beyond_loopback_without_tokens(
    settings: ServiceSettings, register: Register, address: str
) -> None:
    exposed = settings.model_copy(update={"listen": address})
    with pytest.raises(FailedPrecondition) as caught:
        async with running(exposed, "core", register):
            pass
    assert (caught.value.reason, caught.value.field) == ("AUTH_REQUIRED", "listen")


async def test_with_tokens_a_server_may_listen_anywhere(
    guarded: ServiceSettings, register: Register
) -> None:
    exposed = guarded.model_copy(update={"listen": "0.0.0.0:0", "metrics_listen": "off"})
    async with (
        running(exposed, "core", register) as server,
        channel(f"127.0.0.1:{server.port}", READER) as to,
    ):
        stub = compression_pb2_grpc.CompressionServiceStub(to)
        await call(stub.GetVariant, compression_pb2.GetVariantRequest(id="a"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tokens: []", "tokens"),
        ("tokens: [{name: a, token: 0123456789abcdef, scopes: [own]}]", "unknown scopes"),
        (
            "tokens: [{name: a, scopes: [read]}]",
            "exactly one of `token`, `sha256` and `certificate`",
        ),
        ("tokens: [{name: a, token: short, scopes: [read]}]", "at least 16 characters"),
        ("tokens: [{name: a, token: 0123456789abcdef, scopes: [read], role: x}]", "role"),
        ("- : [", "not YAML"),
    ],
)
def test_a_wrong_tokens_file_is_explained_without_its_tokens(
    tmp_path: Path, text: str, problem: str
) -> None:
    file = tmp_path / "tokens.yaml"
    file.write_text(text)
    with pytest.raises(InvalidArgument) as caught:
        load_tokens(file)
    assert problem in str(caught.value)
    assert "0123456789abcdef" not in str(caught.value)


def test_a_missing_tokens_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"gone\.yaml cannot be used \(No such file"):
        load_tokens(tmp_path / "gone.yaml")


def test_an_empty_project_is_the_default_one() -> None:
    principal = Principal("a", Scope.READ, frozenset({"default"}))
    principal.require_project("")
    assert not principal.may_see("other")


def test_every_method_of_the_contract_has_the_scope_its_name_says() -> None:
    files = (
        compression_pb2,
        coordination_pb2,
        evaluation_pb2,
        pack_pb2,
        scoring_pb2,
        serving_pb2,
    )
    by_scope: dict[Scope, set[str]] = {scope: set() for scope in Scope}
    for file in files:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                by_scope[scope_of(method.name)].add(method.name)
    assert by_scope[Scope.ADMIN] == {"DeleteVariant", "RegisterVariant", "UploadPack"}
    assert by_scope[Scope.RUN] == {
        "CancelCanary",
        "CancelEvaluation",
        "CancelStudy",
        "CancelVariant",
        "CreateCanary",
        "CreateEvaluation",
        "CreateStudy",
        "CreateVariant",
        "DeleteStudy",
        "ExtendStudy",
        "Generate",
        "LoadModel",
        "PauseStudy",
        "ProfileModel",
        "ReleaseLease",
        "RenewLease",
        "Rescore",
        "ResumeCanary",
        "ResumeStudy",
        "Score",
        "UnloadModel",
    }
