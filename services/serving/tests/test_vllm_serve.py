"""An endpoint that is not ours: a `vllm serve` process (`make test-external`)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from services.serving.tests.conftest import (
    Client,
    Gateway,
    free_port,
    make_model,
    start_gateway,
)
from services.serving.tests.vllm_server import vllm_serve

from assay_core.pb import serving_pb2 as pb

pytestmark = [pytest.mark.engine, pytest.mark.slow]

TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
KEY = "a-key-of-the-test"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny", seed=1)


@pytest.fixture(scope="module")
def server(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a running `vllm serve`."""
    folder = tmp_path_factory.mktemp("vllm")
    (folder / "template.jinja").write_text(TEMPLATE)
    options = ("--max-model-len", "512", "--chat-template", str(folder / "template.jinja"))
    python = Path(sys.executable)
    with vllm_serve(python, checkpoint, folder, free_port(), key=KEY, options=options) as url:
        yield url


@pytest.fixture(scope="module")
def external_gateway(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    entry = {"url": server, "model": "tiny", "secret": "env:TINY_KEY", "max_in_flight": 8}
    os.environ["TINY_KEY"] = KEY
    started = start_gateway(
        tmp_path_factory.mktemp("home"),
        endpoints=json.dumps({"tiny": entry, "keyless": entry | {"secret": "", "max_retries": 0}}),
    )
    yield started
    started.process.terminate()
    started.process.wait(timeout=60)


@pytest.fixture
async def client(external_gateway: Gateway) -> AsyncIterator[Client]:
    async with external_gateway.client() as connected:
        yield connected


def items() -> list[pb.GenerateItem]:
    greedy = pb.SamplingParameters(temperature=0.0, max_tokens=12)
    drawn = pb.SamplingParameters(temperature=1.0, top_k=50, max_tokens=12)
    turns = [pb.ChatMessage(role="user", content="is water wet?")]
    return [
        pb.GenerateItem(id="text", text="user: is water wet?\nassistant:", sampling=greedy),
        pb.GenerateItem(id="chat", chat=pb.ChatMessages(messages=turns), sampling=greedy),
        pb.GenerateItem(id="tokens", tokens=pb.TokenIds(ids=[50, 60, 70]), sampling=greedy),
        pb.GenerateItem(id="drawn", text="the quick", sampling=drawn, seed=11, n=5),
    ]


async def test_its_completions_come_in_all_three_forms_with_seeds_that_hold(client):
    async with client.leased(None, endpoint="tiny") as lease:
        found = await client.generate(lease, items())
        again = await client.generate(lease, items())
        part = items()[-1]
        part.completion_indices.extend([3, 1])
        some = await client.generate(lease, [part])
    texts = {key: completion.text for key, completion in found.items()}
    assert texts["chat", 0] == texts["text", 0] != ""
    assert texts == {key: completion.text for key, completion in again.items()}
    assert len({texts["drawn", k] for k in range(5)}) == 5
    assert {k: c.text for k, c in some.items()} == {("drawn", k): texts["drawn", k] for k in (1, 3)}
    assert all(completion.completion_tokens == 12 for completion in found.values())


async def test_what_it_refuses_fails_item_by_item(client):
    long = pb.GenerateItem(
        id="long",
        tokens=pb.TokenIds(ids=[50] * 600),
        sampling=pb.SamplingParameters(max_tokens=8),
    )
    async with client.leased(None, endpoint="tiny") as lease:
        found = await client.generate(lease, [long, items()[0]])
    refused = (pb.FINISH_REASON_OVERLENGTH, pb.FINISH_REASON_ERROR)
    assert found["long", 0].finish_reason in refused
    assert found["long", 0].error.code in ("OUT_OF_RANGE", "INVALID_ARGUMENT")
    assert found["text", 0].finish_reason == pb.FINISH_REASON_LENGTH


async def test_without_its_key_it_is_not_loaded(client):
    request = pb.LoadModelRequest(endpoint="keyless")
    answer = await client.stub.LoadModel(request)
    model = await client.settled(answer.model.meta.id)
    assert model.meta.error.reason == "ENDPOINT_REFUSED"
