"""Items of one message on a real engine: prompt forms, log-probabilities, one bad among good."""

from __future__ import annotations

import pytest
from services.serving.tests.prompts import PROMPTS, greedy, sampled

from assay_core.client import call
from assay_core.errors import InvalidArgument
from assay_core.pb import serving_pb2 as pb
from assay_serving.ray_paths import ray_directory

# Every test shares the session's gateway and engine, and so its event loop does not matter.
pytestmark = pytest.mark.engine


async def test_chat_text_and_token_ids_are_one_prompt_in_three_forms(client, variants):
    from transformers import AutoTokenizer

    turns = [("system", "be brief"), ("user", "is water wet?")]
    rendered = "System: be brief\n\nUser: is water wet?\n\nAssistant:"
    ids = AutoTokenizer.from_pretrained(variants["a"])(rendered).input_ids
    sampling = pb.SamplingParameters(temperature=0.0, max_tokens=8)
    messages = [pb.ChatMessage(role=role, content=content) for role, content in turns]
    items = [
        pb.GenerateItem(id="chat", chat=pb.ChatMessages(messages=messages), sampling=sampling),
        pb.GenerateItem(id="text", text=rendered, sampling=sampling),
        pb.GenerateItem(id="ids", tokens=pb.TokenIds(ids=ids), sampling=sampling),
    ]
    async with client.leased(variants["a"]) as lease:
        found = await client.generate(lease, items)
        counted = await call(
            client.stub.CountTokens,
            pb.CountTokensRequest(model_id=lease.model.meta.id, items=items),
        )
    assert len({completion.text for completion in found.values()}) == 1
    assert len({completion.prompt_digest for completion in found.values()}) == 1
    assert list(counted.counts) == [len(ids)] * 3
    assert all(completion.prompt_tokens == len(ids) for completion in found.values())


async def test_logprobs_of_the_completion_and_of_the_prompt(client, variants):
    sampling = pb.SamplingParameters(
        temperature=0.0, max_tokens=4, logprobs=3, prompt_logprobs=True
    )
    item = pb.GenerateItem(id="l", text=PROMPTS[0], sampling=sampling)
    async with client.leased(variants["a"]) as lease:
        completion = (await client.generate(lease, [item]))["l", 0]
    assert len(completion.logprobs) == completion.completion_tokens == 4
    for entry in completion.logprobs:
        assert len(entry.top) == 3
        assert entry.top[0].token_id == entry.token_id, "greedy takes the likeliest token"
        assert entry.logprob <= 0
    assert len(completion.prompt_logprobs) == completion.prompt_tokens - 1


async def test_prompt_logprobs_are_the_likelihood_of_raw_text_and_of_token_ids(client, variants):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    text = "is water wet? yes, water is wet."
    tokenizer = AutoTokenizer.from_pretrained(variants["a"])
    ids = tokenizer(text, return_tensors="pt").input_ids
    model = AutoModelForCausalLM.from_pretrained(variants["a"], dtype=torch.float32).eval()
    with torch.inference_mode():
        log_softmax = model(ids).logits.log_softmax(-1)[0, :-1]
    expected = log_softmax.gather(1, ids[0, 1:, None])[:, 0].tolist()
    sampling = pb.SamplingParameters(temperature=0.0, max_tokens=1, prompt_logprobs=True)
    items = [
        pb.GenerateItem(id="text", text=text, sampling=sampling),
        pb.GenerateItem(id="ids", tokens=pb.TokenIds(ids=ids[0].tolist()), sampling=sampling),
    ]
    async with client.leased(variants["a"]) as lease:
        found = await client.generate(lease, items)
    for completion in found.values():
        scored = completion.prompt_logprobs
        assert [entry.token_id for entry in scored] == ids[0, 1:].tolist()
        assert [entry.logprob for entry in scored] == pytest.approx(expected, abs=1e-3)


async def test_stop_text_ends_a_completion_and_is_not_part_of_it(client, variants):
    async with client.leased(variants["a"]) as lease:
        whole = (await client.generate(lease, greedy(PROMPTS[:1])))["p0", 0]
        stop = whole.text[6:8]
        item = greedy(PROMPTS[:1])[0]
        item.sampling.stop.append(stop)
        cut = (await client.generate(lease, [item]))["p0", 0]
    assert whole.finish_reason == pb.FINISH_REASON_LENGTH
    assert cut.finish_reason == pb.FINISH_REASON_STOP
    assert cut.text == whole.text[: whole.text.index(stop)]


async def test_a_bad_item_fails_alone_with_its_own_error(client, variants):
    sampling = pb.SamplingParameters(temperature=0.0, max_tokens=8)
    items = [
        pb.GenerateItem(id="long", tokens=pb.TokenIds(ids=[5] * 505), sampling=sampling, n=2),
        pb.GenerateItem(id="foreign", tokens=pb.TokenIds(ids=[99999]), sampling=sampling),
        pb.GenerateItem(id="good", text=PROMPTS[0], sampling=sampling),
    ]
    async with client.leased(variants["a"]) as lease:
        found = await client.generate(lease, items)
    assert found["good", 0].finish_reason == pb.FINISH_REASON_LENGTH
    for index in (0, 1):
        long = found["long", index]
        assert long.finish_reason == pb.FINISH_REASON_OVERLENGTH
        assert (long.error.code, long.error.reason) == ("OUT_OF_RANGE", "OVERLENGTH")
        assert long.prompt_tokens == 505
    foreign = found["foreign", 0]
    assert foreign.finish_reason == pb.FINISH_REASON_ERROR
    assert (foreign.error.code, foreign.error.field) == ("INVALID_ARGUMENT", "prompt.tokens")


async def test_a_malformed_message_is_refused_by_field(client, variants):
    async with client.leased(variants["a"]) as lease:
        for item, field in [
            (sampled("x", seed=1, completion_indices=[2, 2]), "items[0].completion_indices"),
            (pb.GenerateItem(id="x"), "items[0].prompt"),
            (sampled("x", seed=1, n=257), "items[0].n"),
        ]:
            with pytest.raises(InvalidArgument) as refusal:
                await client.generate(lease, [item])
            assert refusal.value.field == field
        twice = [sampled("x", seed=1), sampled("x", seed=2)]
        with pytest.raises(InvalidArgument) as refusal:
            await client.generate(lease, twice)
        assert refusal.value.field == "items[1].id"
        assert len(await client.generate(lease, greedy(PROMPTS))) == len(PROMPTS)


async def test_no_prompt_or_completion_text_is_in_any_log(gateway, client, variants):
    secret = "zebra-7731-marmalade"
    item = pb.GenerateItem(
        id="s", text=secret, sampling=pb.SamplingParameters(max_tokens=4), seed=1
    )
    bad = pb.GenerateItem(id="s", text=secret, sampling=pb.SamplingParameters(temperature=-1))
    async with client.leased(variants["a"]) as lease:
        await client.generate(lease, [item])
        with pytest.raises(InvalidArgument):
            await client.generate(lease, [bad])
    logs = [gateway.log, *(path for path in gateway.home.rglob("*") if path.is_file())]
    logs += [path for path in ray_directory(gateway.home).rglob("*") if path.is_file()]
    assert len(logs) > 5
    assert not [path for path in logs if secret.encode() in path.read_bytes()]
