"""The OpenAI-compatible door: the `openai` client and curl against the real engine."""

from __future__ import annotations

import asyncio
import json
import shutil

import httpx
import openai
import pytest

from assay_core.pb import serving_pb2 as pb

pytestmark = pytest.mark.engine

PROMPTS = ["the quick brown fox", "is water wet?"]
TURNS = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "is water wet?"}]
RENDERED = "System: be brief\n\nUser: is water wet?\n\nAssistant:"


@pytest.fixture
async def door(gateway):
    """An `openai` client of the session's gateway that hides no failure behind a retry."""
    async with openai.AsyncOpenAI(
        base_url=gateway.openai_url, api_key="unused-on-loopback", max_retries=0
    ) as connected:
        yield connected


def item(
    name: str, text: str, *, n: int = 1, seed: int | None = None, **sampling
) -> pb.GenerateItem:
    parameters = pb.SamplingParameters(max_tokens=12, **sampling)
    return pb.GenerateItem(id=name, text=text, n=n, seed=seed, sampling=parameters)


async def test_models_are_those_that_are_resident(client, door, variants):
    async with client.leased(variants["a"]) as lease:
        listed = (await door.models.list()).data
        assert [(model.id, model.artifact_digest) for model in listed] == [
            (lease.model.meta.id, lease.digest)
        ]
        for name in (lease.model.meta.id, lease.digest, variants["a"].name):
            assert (await door.models.retrieve(name)).id == lease.model.meta.id
    async with client.leased(variants["b"]) as lease:
        assert [model.artifact_digest for model in (await door.models.list()).data] == [
            lease.digest
        ]
        with pytest.raises(openai.NotFoundError) as refusal:
            await door.completions.create(model=variants["a"].name, prompt="x")
    assert refusal.value.code == "model_not_found"
    assert refusal.value.param == "model"


async def test_completions_equal_those_of_generate_and_name_the_artifact(client, door, variants):
    async with client.leased(variants["a"]) as lease:
        items = [item(f"p{i}", text, temperature=0.0) for i, text in enumerate(PROMPTS)]
        expected = await client.generate(lease, items)
        raw = await door.completions.with_raw_response.create(
            model="a", prompt=PROMPTS, temperature=0, max_tokens=12
        )
    answer = raw.parse()
    assert raw.headers["x-assay-artifact-digest"] == lease.digest
    assert answer.system_fingerprint == lease.digest
    assert [choice.text for choice in answer.choices] == [expected[f"p{i}", 0].text for i in (0, 1)]
    assert answer.usage.prompt_tokens == sum(c.prompt_tokens for c in expected.values())
    assert answer.usage.completion_tokens == sum(c.completion_tokens for c in expected.values())


async def test_choices_draw_with_seed_plus_index_as_in_generate(client, door, variants):
    async with client.leased(variants["a"]) as lease:
        expected = await client.generate(lease, [item("s", PROMPTS[0], n=5, seed=7)])
        answer = await door.completions.create(
            model="a", prompt=PROMPTS[0], n=5, seed=7, max_tokens=12
        )
    assert [choice.text for choice in answer.choices] == [expected["s", k].text for k in range(5)]


async def test_chat_uses_the_template_and_streams_the_same_text(client, door, variants):
    asked = {"model": "a", "messages": TURNS, "temperature": 0, "max_completion_tokens": 12}
    async with client.leased(variants["a"]) as lease:
        expected = await client.generate(lease, [item("c", RENDERED, temperature=0.0)])
        whole = await door.chat.completions.create(**asked)
        pieces = [
            event
            async for event in await door.chat.completions.create(
                **asked, stream=True, stream_options={"include_usage": True}
            )
        ]
    text = expected["c", 0].text
    assert whole.choices[0].message.content == text
    assert whole.choices[0].finish_reason == "length"
    assert pieces[0].choices[0].delta.role == "assistant"
    assert len(pieces) > 5, "the text comes in pieces"
    assert "".join(p.choices[0].delta.content or "" for p in pieces if p.choices) == text
    assert pieces[-2].choices[0].finish_reason == "length"
    assert pieces[-1].usage == whole.usage
    assert {piece.system_fingerprint for piece in pieces} == {lease.digest}


async def test_chat_logprobs_are_those_of_generate(client, door, variants):
    async with client.leased(variants["a"]) as lease:
        same = item("c", RENDERED, temperature=0.0, logprobs=2)
        expected = (await client.generate(lease, [same]))["c", 0].logprobs[:4]
        answer = await door.chat.completions.create(
            model="a", messages=TURNS, temperature=0, max_tokens=4, logprobs=True, top_logprobs=2
        )
    content = answer.choices[0].logprobs.content
    assert [entry.token for entry in content] == [entry.text for entry in expected]
    for entry, known in zip(content, expected, strict=True):
        assert entry.logprob == pytest.approx(known.logprob)
        assert [other.token for other in entry.top_logprobs] == [top.text for top in known.top]


async def test_echo_with_logprobs_scores_a_prompt_without_generating(client, door, variants):
    async with client.leased(variants["a"]) as lease:
        scored = await client.generate(
            lease, [item("l", PROMPTS[0], temperature=0.0, prompt_logprobs=True)]
        )
        answer = await door.completions.create(
            model="a", prompt=PROMPTS[0], max_tokens=0, echo=True, logprobs=1
        )
    logprobs = answer.choices[0].logprobs
    expected = [entry.logprob for entry in scored["l", 0].prompt_logprobs]
    assert answer.choices[0].text == PROMPTS[0]
    assert "".join(logprobs.tokens) == PROMPTS[0]
    assert logprobs.token_logprobs[0] is None
    assert logprobs.token_logprobs[1:] == pytest.approx(expected)
    assert answer.usage.completion_tokens == 0


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"prompt": [5] * 505}, "context_length_exceeded", "prompt"),
        ({"prompt": [99999]}, "invalid_item", "prompt.tokens"),
        ({"temperature": -1}, "invalid_field", "temperature"),
        ({"n": 0}, "invalid_field", "n"),
        ({"presence_penalty": 0.5}, "invalid_field", "presence_penalty"),
        ({"extra_body": {"best": 1}}, "invalid_field", "best"),
    ],
)
async def test_a_bad_request_is_400_and_names_its_field(
    client, door, variants, fields, code, param
):
    async with client.leased(variants["a"]):
        with pytest.raises(openai.BadRequestError) as refusal:
            await door.completions.create(**{"model": "a", "prompt": "x"} | fields)
    assert (refusal.value.code, refusal.value.param) == (code, param)
    assert refusal.value.type == "invalid_request_error"


async def test_closing_a_stream_aborts_its_work_in_the_engine(client, door, variants):
    async with client.leased(variants["a"]):
        stream = await door.completions.create(
            model="a", prompt=PROMPTS[0], n=32, seed=1, max_tokens=450, stream=True
        )
        await client.until_in_flight(lambda number: number > 0)
        await stream.close()
        await client.until_in_flight(lambda number: number == 0)


async def test_leaving_before_the_answer_aborts_its_work_in_the_engine(client, gateway, variants):
    body = {"model": "a", "prompt": PROMPTS[0], "n": 32, "seed": 1, "max_tokens": 450}
    async with client.leased(variants["a"]), httpx.AsyncClient() as plain:
        asking = asyncio.create_task(plain.post(f"{gateway.openai_url}/completions", json=body))
        await client.until_in_flight(lambda number: number > 0)
        asking.cancel()
        await client.until_in_flight(lambda number: number == 0)


async def test_the_door_as_an_external_endpoint_gives_the_same_completions(client, variants):
    """LoadModel by the name of an endpoint that is this server's own door."""
    async with client.leased(variants["a"]) as lease:
        items = [item("s", PROMPTS[0], n=3, seed=7), item("g", PROMPTS[1], temperature=0.0)]
        expected = await client.generate(lease, items)
        async with client.leased(None, endpoint="own-door") as theirs:
            assert theirs.model.engine.family == "external"
            found = await client.generate(theirs, items)
    assert {k: c.text for k, c in found.items()} == {k: c.text for k, c in expected.items()}
    assert {k: c.completion_tokens for k, c in found.items()} == {
        k: c.completion_tokens for k, c in expected.items()
    }


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_reads_a_stream(client, gateway, variants):
    body = {"model": "a", "prompt": "the", "max_tokens": 3, "temperature": 0, "stream": True}
    async with client.leased(variants["a"]):
        process = await asyncio.create_subprocess_exec(
            *("curl", "--silent", "--no-buffer", f"{gateway.openai_url}/completions"),
            *("--header", "content-type: application/json", "--data", json.dumps(body)),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    events = [line for line in output.decode().splitlines() if line]
    assert all(event.startswith("data: ") for event in events)
    assert events[-1] == "data: [DONE]"
    assert json.loads(events[0].removeprefix("data: "))["object"] == "text_completion"
