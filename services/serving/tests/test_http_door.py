"""The door's rules that need no engine: tokens, projects, turns, errors."""

from __future__ import annotations

import asyncio
import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from services.serving.tests.conftest import free_port
from services.serving.tests.memory_runtime import World

from assay_core.auth import Authenticator, Principal, Scope
from assay_core.errors import FailedPrecondition
from assay_serving.domain import Completion, FinishReason, TokenLogprob
from assay_serving.http.answers import ChatWriter, CompletionWriter
from assay_serving.http.app import OpenAIDoor
from assay_serving.http.convert import completion_items
from assay_serving.http.schema import ChatRequest, CompletionRequest
from assay_serving.main import _http_server

HUGE = b"1" + b"0" * 30
TOKENS = {"reader": Scope.READ, "runner": Scope.RUN}


def connect(world: World, authenticator: Authenticator | None = None) -> httpx.AsyncClient:
    door = OpenAIDoor(world.manager, authenticator or Authenticator(None))
    transport = httpx.ASGITransport(door.application())
    return httpx.AsyncClient(transport=transport, base_url="http://door/v1")


def tokens(*, projects: frozenset[str] = frozenset({"default"})) -> Authenticator:
    import hashlib

    return Authenticator(
        {
            hashlib.sha256(name.encode()).hexdigest(): Principal(name, scope, projects)
            for name, scope in TOKENS.items()
        }
    )


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_a_call_without_a_token_is_401_in_the_apis_shape(world):
    async with connect(world, tokens()) as door:
        answer = await door.get("/models")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert answer.json()["error"]["code"] == "invalid_api_key"


async def test_reading_lists_models_and_only_running_generates(world):
    await world.leased("a")
    async with connect(world, tokens()) as door:
        assert len((await door.get("/models", headers=bearer("reader"))).json()["data"]) == 1
        body = {"model": "a", "prompt": "x"}
        refused = await door.post("/completions", json=body, headers=bearer("reader"))
        answered = await door.post("/completions", json=body, headers=bearer("runner"))
    assert refused.status_code == 403
    assert answered.json()["choices"][0]["text"] == "text"


async def test_models_of_other_projects_do_not_exist_for_the_caller(world):
    await world.leased("a")
    async with connect(world, tokens(projects=frozenset({"other"}))) as door:
        assert (await door.get("/models", headers=bearer("reader"))).json()["data"] == []
        body = {"model": "a", "prompt": "x"}
        answer = await door.post("/completions", json=body, headers=bearer("runner"))
    assert answer.status_code == 404


async def test_a_swap_waits_for_a_request_and_the_next_request_for_its_turn(world):
    known, lease = await world.leased("a")
    world.manager.release(lease.id)
    world.runtime.hold.clear()
    async with connect(world) as door:
        body = {"model": "a", "prompt": "x"}
        first = asyncio.create_task(door.post("/completions", json=body))
        await world.runtime.entered.wait()
        other, other_lease = await world.load("b")
        behind = asyncio.create_task(door.post("/completions", json=body))
        await asyncio.sleep(0.1)
        assert world.engine(known).resident == known.model.artifact_digest
        world.runtime.hold.set()
        digest = (await first).json()["system_fingerprint"]
        assert digest == known.model.artifact_digest
        await world.settled(other)
        assert not behind.done(), "it came after the request for b"
        world.manager.release(other_lease.id)
        assert (await behind).json()["system_fingerprint"] == digest
    assert [what for _, what in world.runtime.history] == ["start", "swap", "swap"]
    assert world.engine(known).book.idle, "no lease is left"


async def test_a_stream_has_pieces_an_end_and_done(world):
    await world.leased("a")
    body = {"model": "a", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    async with connect(world) as door:
        answer = await door.post("/chat/completions", json=body)
    lines = [line for line in answer.text.splitlines() if line]
    assert len(lines) == 5
    assert lines[-1] == "data: [DONE]"


async def test_a_dead_engine_is_503_with_retry_after(world):
    await world.leased("a")
    world.runtime.dead = True
    async with connect(world) as door:
        answer = await door.post("/completions", json={"model": "a", "prompt": "x"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["error"]["code"] == "engine_dead"


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/completions", b"{", 400, "body"),
        ("/completions", b'{"model": "a"}', 400, "prompt"),
        (
            "/completions",
            b'{"model": "a", "prompt": "", "echo": true, "stream": true}',
            400,
            "echo",
        ),
        ("/completions", b'{"model": "a", "prompt": "x", "max_tokens": 0}', 400, "max_tokens"),
        ("/completions", b'{"model": "a", "prompt": "%s"}' % (b"x" * 5 * 2**20), 400, "body"),
        ("/chat/completions", b'{"model": "a", "messages": []}', 400, "messages"),
        ("/chat/completions", b'{"model": "a", "messages": ["xxx"]}', 400, "messages[0]"),
        (
            "/completions",
            b'{"model": "a", "prompt": "x", "top_k": 1%s}' % (b"0" * 30),
            400,
            "top_k",
        ),
        (
            "/completions",
            b'{"model": "a", "prompt": "x", "max_tokens": 1%s}' % (b"0" * 30),
            400,
            "max_tokens",
        ),
        ("/embeddings", b"{}", 404, None),
    ],
)
async def test_bad_input_names_its_field_and_shows_no_text(world, path, body, status, param):
    await world.leased("a")
    async with connect(world) as door:
        answer = await door.post(path, content=body)
    assert answer.status_code == status
    assert answer.json()["error"]["param"] == param
    assert "xxx" not in answer.text


@pytest.mark.parametrize("broken", [float("nan"), float("-inf")])
def test_a_log_probability_of_broken_weights_is_still_json(broken):
    drawn = TokenLogprob(5, broken, "x", (TokenLogprob(6, broken, "y"),))
    answer = Completion(
        "0", 0, "x", FinishReason.STOP, 1, 1, "sha256:a", prompt_digest="", logprobs=(drawn,)
    )
    asked = CompletionRequest(model="a", prompt="x", logprobs=1)
    text = CompletionWriter(asked, completion_items(asked), "sha256:a").whole([answer])
    turns = ChatRequest(
        model="a",
        messages=[{"role": "user", "content": "x"}],
        logprobs=True,
        top_logprobs=1,
    )
    chat = ChatWriter(turns, "sha256:a").whole([answer])
    for document in (text, chat):
        json.dumps(document, allow_nan=False)
    assert text["choices"][0]["logprobs"]["token_logprobs"] == [-9999.0]


def test_beyond_loopback_the_door_needs_tokens(tmp_path):
    world = World(tmp_path, http_listen="0.0.0.0:0")
    with pytest.raises(FailedPrecondition) as refusal:
        _http_server(world.settings, world.manager)
    assert refusal.value.reason == "AUTH_REQUIRED"


async def test_a_taken_address_is_refused_by_the_setting(tmp_path):
    world = World(tmp_path, http_listen=f"127.0.0.1:{free_port()}")
    first, second = (_http_server(world.settings, world.manager) for _ in range(2))
    await first.start()
    try:
        with pytest.raises(FailedPrecondition) as refusal:
            await second.start()
    finally:
        await first.stop()
    assert (refusal.value.reason, refusal.value.field) == ("ADDRESS_IN_USE", "http_listen")


def self_signed(folder: Path) -> dict[str, Path]:
    """Writes a new pair over the old one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "door")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    files = {"tls_cert_file": folder / "tls.crt", "tls_key_file": folder / "tls.key"}
    files["tls_cert_file"].write_bytes(certificate.public_bytes(Encoding.PEM))
    files["tls_key_file"].write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return files


async def test_a_renewed_certificate_is_shown_from_the_next_handshake_on(tmp_path):
    port = free_port()
    pair = self_signed(tmp_path)
    world = World(tmp_path, http_listen=f"127.0.0.1:{port}", **pair)
    door = _http_server(world.settings, world.manager)

    async def shown() -> str:
        return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))

    await door.start()
    try:
        before = await shown()
        assert await shown() == before == pair["tls_cert_file"].read_text()
        self_signed(tmp_path)
        assert await shown() == pair["tls_cert_file"].read_text() != before
    finally:
        await door.stop()
