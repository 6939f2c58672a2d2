"""External endpoints against real HTTP servers: a scripted one, and our own door."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError
from services.serving.tests.conftest import free_port, until
from services.serving.tests.memory_runtime import World
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from assay_core.errors import FailedPrecondition, InvalidArgument, NotFound
from assay_core.resources import State
from assay_core.settings import load_settings
from assay_serving.domain import (
    ChatMessage,
    ChatPrompt,
    Completion,
    Failure,
    FailureKind,
    Item,
    Sampling,
    TextPrompt,
    TokenPrompt,
)
from assay_serving.endpoints import EndpointSettings
from assay_serving.gates import Pace
from assay_serving.generation import Batch, GenerateStream
from assay_serving.http.server import HttpServer
from assay_serving.models import LoadRequest
from assay_serving.settings import ServingSettings

KEY = "sk-not-a-real-key"


class Script:
    """An OpenAI-compatible server that answers what a test has put down, then `fine`."""

    def __init__(self) -> None:
        self.requests: list[dict] = []
        self.keys: set[str] = set()
        self.answers: list[Response] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.open = 0

    def application(self) -> Starlette:
        paths = ("/v1/completions", "/v1/chat/completions")
        return Starlette(routes=[Route(path, self.answer, methods=["POST"]) for path in paths])

    async def answer(self, request: Request) -> Response:
        document = json.loads(await request.body())
        self.keys.add(request.headers["authorization"])
        if document.get("max_tokens") == 1:
            return self.answers.pop(0) if self.answers else fine(document)
        self.requests.append(document)
        self.open += 1
        try:
            gone = asyncio.create_task(request.receive())
            await asyncio.wait(
                (gone, asyncio.create_task(self.hold.wait())),
                return_when=asyncio.FIRST_COMPLETED,
            )
            gone.cancel()
        finally:
            self.open -= 1
        return self.answers.pop(0) if self.answers else fine(document)


def fine(document: dict, finish: str = "stop") -> Response:
    text = f"answer {document.get('seed')}"
    choice = {"index": 0, "finish_reason": finish, "text": text}
    choice["message"] = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    head = {"id": "x", "object": "x", "created": 0, "model": document["model"]}
    return JSONResponse(head | {"choices": [choice], "usage": usage})


def refused(status: int, code: str = "x", **headers: str) -> Response:
    body = {"error": {"message": f"no {KEY}", "type": "x", "param": None, "code": code}}
    return JSONResponse(body, status, headers)


@pytest.fixture
async def script() -> AsyncIterator[tuple[Script, str]]:
    made = Script()
    port = free_port()
    settings = ServingSettings(http_listen=f"127.0.0.1:{port}", drain_seconds=1)
    server = HttpServer(settings, made.application())
    await server.start()
    yield made, f"http://127.0.0.1:{port}/v1"
    made.hold.set()
    await server.stop()


@asynccontextmanager
async def endpoint_world(home: Path, url: str, monkeypatch, **fields) -> AsyncIterator[World]:
    monkeypatch.setenv("ENDPOINT_KEY", KEY)
    fields = {"url": url, "model": "their-model", "secret": "env:ENDPOINT_KEY"} | fields
    world = World(home, endpoints={"theirs": fields})
    yield world
    await world.manager.drain()
    await world.registry.close()


@pytest.fixture
async def world(tmp_path, script, monkeypatch) -> AsyncIterator[World]:
    async with endpoint_world(tmp_path, script[1], monkeypatch) as made:
        yield made


async def loaded(world: World):
    request = LoadRequest("default", endpoint="theirs", ttl=60)
    known, lease = await world.manager.load(request)
    return await world.settled(known), lease


async def generate(world: World, *items: Item) -> dict[tuple[str, int], Completion | Failure]:
    known, lease = await loaded(world)
    assert known.ready, known.record.error

    async def batches() -> AsyncIterator[Batch]:
        yield Batch(lease.id, known.model.artifact_digest, items)

    stream = GenerateStream(world.engine(known)).run(batches())
    return {(r.item_id, r.index): r async for results in stream for r in results}


def chat(name: str = "c", *, indices: tuple[int, ...] = (0,), **sampling) -> Item:
    turns = (ChatMessage("system", "s"), ChatMessage("user", "u", name="example_user"))
    return Item(name, ChatPrompt(turns), Sampling(**sampling), indices, seed=40)


async def test_an_endpoint_is_a_model_of_its_own_kind(world):
    known, _ = await loaded(world)
    assert known.record.state is State.SUCCEEDED
    assert known.model.artifact_uri == "endpoint:theirs"
    assert known.model.engine.family == known.model.engine.device_class == "external"
    assert known.model.artifact_digest.startswith("sha256:")


async def test_each_completion_is_one_request_with_its_own_seed(world, script):
    found = await generate(world, chat(indices=(0, 2), temperature=0.5, top_p=0.9, stop=("\n",)))
    assert {key: result.text for key, result in found.items()} == {
        ("c", 0): "answer 40",
        ("c", 2): "answer 42",
    }
    assert [result.completion_tokens for result in found.values()] == [2, 2]
    assert sorted(script[0].requests, key=lambda r: r["seed"]) == [
        {
            "model": "their-model",
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "u", "name": "example_user"},
            ],
            "temperature": 0.5,
            "top_p": 0.9,
            "max_tokens": 16,
            "stop": ["\n"],
            "seed": seed,
        }
        for seed in (40, 42)
    ]
    assert script[0].keys == {f"Bearer {KEY}"}


async def test_text_and_tokens_go_to_completions_as_they_are(world, script):
    await generate(
        world,
        Item("t", TextPrompt("raw"), Sampling(top_k=5)),
        Item("i", TokenPrompt((5, 6)), Sampling()),
    )
    assert {json.dumps(request["prompt"]) for request in script[0].requests} == {'"raw"', "[5, 6]"}
    assert [r["top_k"] for r in script[0].requests if r["prompt"] == "raw"] == [5]


async def test_a_retry_waits_as_long_as_the_endpoint_says(world, script):
    await loaded(world)
    script[0].answers += [
        refused(429, **{"retry-after": "1"}),
        refused(503, **{"retry-after": "1"}),
    ]
    started = time.monotonic()
    found = await generate(world, chat())
    assert found["c", 0].text == "answer 40"
    assert len(script[0].requests) == 3
    assert time.monotonic() - started >= 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refused(400, "context_length_exceeded"), FailureKind.OVERLENGTH),
        (refused(400), FailureKind.INVALID_ITEM),
        (refused(403), FailureKind.ENDPOINT_REFUSED),
        (fine({"model": "x"}, finish="content_filter"), FailureKind.ENDPOINT_REFUSED),
    ],
)
async def test_a_refused_item_fails_alone_without_the_endpoints_words(world, script, answer, kind):
    await loaded(world)
    script[0].answers.append(answer)
    found = await generate(world, chat("a"), chat("b"))
    failures = [result for result in found.values() if isinstance(result, Failure)]
    assert [failure.kind for failure in failures] == [kind]
    assert KEY not in failures[0].message
    assert len(found) == 2


async def test_what_stays_unavailable_fails_with_the_advice_to_ask_again(
    tmp_path, script, monkeypatch
):
    async with endpoint_world(tmp_path, script[1], monkeypatch, max_retries=1) as world:
        await loaded(world)
        script[0].answers += [refused(500), refused(500)]
        failure = (await generate(world, chat()))["c", 0]
    assert failure.kind is FailureKind.ENGINE_REFUSED
    assert len(script[0].requests) == 2


async def test_logprobs_are_not_promised(world, script):
    found = await generate(world, chat(logprobs=1), chat("p", prompt_logprobs=True))
    assert {failure.kind for failure in found.values()} == {FailureKind.INVALID_ITEM}
    assert script[0].requests == []


async def test_ending_a_stream_closes_its_requests(world, script):
    script[0].hold.clear()
    asking = asyncio.create_task(generate(world, chat(indices=tuple(range(8)))))
    await until(lambda: script[0].open == 8, 30)
    asking.cancel()
    await until(lambda: script[0].open == 0, 30)


async def test_requests_in_flight_are_bounded(tmp_path, script, monkeypatch):
    script[0].hold.clear()
    async with endpoint_world(tmp_path, script[1], monkeypatch, max_in_flight=3) as world:
        asking = asyncio.create_task(generate(world, chat(indices=tuple(range(8)))))
        await until(lambda: script[0].open >= 3, 30)
        await asyncio.sleep(0.2)
        assert script[0].open == 3
        script[0].hold.set()
        assert len(await asking) == 8


async def test_the_pace_spaces_turns_evenly(monkeypatch):
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(round(seconds, 3))

    monkeypatch.setattr("assay_serving.gates.asyncio.sleep", sleep)
    pace = Pace(120, clock=lambda: 10.0)
    for _ in range(3):
        await pace.turn()
    assert slept == [0.5, 1.0]


@pytest.mark.parametrize("status", [401, 404])
async def test_a_wrong_key_or_model_fails_the_load_and_shows_no_key(world, script, status):
    script[0].answers += [refused(status), refused(status)]
    known, _ = await loaded(world)
    assert known.record.state is State.FAILED
    assert known.record.error.reason == "ENDPOINT_REFUSED"
    assert KEY not in str(known.record.error)


async def test_an_endpoint_without_chat_is_loaded_by_text(world, script):
    script[0].answers.append(refused(400))
    known, _ = await loaded(world)
    assert known.ready


async def test_an_endpoint_that_is_down_fails_the_load_with_a_time_to_retry(tmp_path, monkeypatch):
    url = f"http://127.0.0.1:{free_port()}/v1"
    async with endpoint_world(tmp_path, url, monkeypatch, max_retries=0) as world:
        known, _ = await loaded(world)
    assert known.record.error.reason == "ENDPOINT_UNAVAILABLE"
    assert known.record.error.retry_after == 30.0


async def test_a_missing_key_names_its_place(tmp_path, script, monkeypatch):
    async with endpoint_world(tmp_path, script[1], monkeypatch, secret="env:NOT_SET") as world:
        known, _ = await loaded(world)
    assert known.record.error.reason == "ENDPOINT_KEY_MISSING"
    assert "env:NOT_SET" in known.record.error.message


async def test_only_named_endpoints_of_the_project_exist(world):
    for project, name in [("default", "others"), ("elsewhere", "theirs")]:
        with pytest.raises(NotFound) as refusal:
            await world.manager.load(LoadRequest(project, endpoint=name))
        assert refusal.value.field == "endpoint"
        # The operator's names are shown to those who may use them.
        assert ("use one of theirs" in refusal.value.remedy) == (project == "default")


async def test_an_endpoint_that_was_changed_does_not_answer_for_the_one_before(world):
    described = await world.manager.describe(LoadRequest("default", endpoint="theirs"))
    same = described.artifact.digest
    await world.manager.load(LoadRequest("default", endpoint="theirs", artifact_digest=same))
    with pytest.raises(FailedPrecondition, match="operator has changed it"):
        other = "sha256:" + "0" * 64
        await world.manager.load(LoadRequest("default", endpoint="theirs", artifact_digest=other))


async def test_an_endpoint_and_an_artifact_exclude_each_other(world):
    with pytest.raises(InvalidArgument):
        await world.manager.load(LoadRequest("default", world.uri["a"], endpoint="theirs"))


async def test_an_endpoint_takes_no_engines_room(world):
    mine, lease = await world.leased("a")
    theirs, _ = await loaded(world)
    assert world.engine(mine).running
    assert world.engine(theirs).running
    world.manager.release(lease.id)
    await world.leased("c")
    assert not world.engine(mine).running, "evicted for c"
    assert world.engine(theirs).running


def test_settings_take_a_reference_and_never_a_key(monkeypatch, tmp_path):
    with pytest.raises(ValidationError) as refusal:
        EndpointSettings(url="http://127.0.0.1/v1", model="m", secret=KEY)
    assert KEY not in str(refusal.value)
    entry = {"url": "https://host/v1", "model": "m", "secret": "file:/run/key"}
    monkeypatch.setenv("ASSAY_SERVING_ENDPOINTS", json.dumps({"theirs": entry}))
    settings = load_settings(ServingSettings, [])
    assert settings.endpoints["theirs"].secret == "file:/run/key"
    monkeypatch.delenv("ASSAY_SERVING_ENDPOINTS")
    file = tmp_path / "serving.yaml"
    file.write_text(json.dumps({"endpoints": {"theirs": entry}}))
    settings = load_settings(ServingSettings, ["--config", str(file)])
    assert settings.endpoints["theirs"].model == "m"
