"""The real service with one real engine: right tokens, right weights, precise refusals."""

from __future__ import annotations

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from services.serving.tests.conftest import scrape, until
from services.serving.tests.prompts import PROMPTS, greedy, sampled, texts_of, tokens_of

from assay_core.client import call, stream
from assay_core.errors import (
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    OutOfRange,
)
from assay_core.pb import common_pb2
from assay_core.pb import serving_pb2 as pb

# Every test shares the session's gateway and engine, and so its event loop does not matter.
pytestmark = pytest.mark.engine


@pytest.fixture(scope="session")
def reference(variants: dict[str, Path]) -> dict[str, dict[tuple[str, int], list[int]]]:
    """The tokens that transformers generates greedily from each checkpoint."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    answers: dict[str, dict[tuple[str, int], list[int]]] = {}
    for name, path in variants.items():
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        for i, prompt in enumerate(PROMPTS):
            ids = tokenizer(prompt, return_tensors="pt").input_ids
            with torch.inference_mode():
                out = model.generate(ids, do_sample=False, max_new_tokens=24)
            answers.setdefault(name, {})[f"p{i}", 0] = out[0, ids.shape[1] :].tolist()
    return answers


async def test_the_engine_is_described_without_loading_and_as_the_loaded_model_reports(
    client, variants
):
    described = await call(
        client.stub.DescribeEngine, pb.DescribeEngineRequest(artifact_uri=str(variants["a"]))
    )
    assert described.engine.family == "vllm-cpu"
    assert described.engine.dtype == "float32"
    assert described.engine.max_model_len == 512
    async with client.leased(variants["a"]) as lease:
        assert lease.model.engine == described.engine
        assert lease.model.tokenizer_digest == described.tokenizer_digest
        assert lease.model.chat_template_digest == described.chat_template_digest
        assert lease.model.ready


async def test_greedy_tokens_equal_transformers_before_and_after_swaps(client, variants, reference):
    for name in ("a", "b", "a", "b"):
        async with client.leased(variants[name]) as lease:
            found = await client.generate(lease, greedy(PROMPTS))
            assert tokens_of(found) == reference[name]
    assert lease.model.swapped
    assert reference["a"] != reference["b"]


async def test_missing_completions_asked_for_alone_equal_those_of_the_full_request(
    client, variants
):
    async with client.leased(variants["a"]) as lease:
        full = texts_of(await client.generate(lease, [sampled("s", seed=11, n=25)]))
        some = texts_of(
            await client.generate(lease, [sampled("s", seed=11, completion_indices=[3, 24])])
        )
        shifted = texts_of(await client.generate(lease, [sampled("s", seed=14)]))
    assert len(full) == 25
    assert len(set(full.values())) > 20
    assert some == {key: full[key] for key in [("s", 3), ("s", 24)]}
    assert shifted["s", 0] == full["s", 3]


async def test_a_seed_gives_the_same_text_alone_and_under_load(client, variants):
    items = [sampled(f"s{i}", seed=1000 + i, n=3) for i in range(64)]
    async with client.leased(variants["a"]) as lease:
        loaded = texts_of(await client.generate(lease, items, per_message=16))
        alone = texts_of(await client.generate(lease, [items[7]]))
    assert len(loaded) == 64 * 3
    assert alone == {key: text for key, text in loaded.items() if key[0] == "s7"}


async def test_no_answer_mixes_weights_while_two_holders_take_turns(client, variants, reference):
    async def use(name: str, turns: int) -> None:
        for _ in range(turns):
            async with client.leased(variants[name], holder=name) as lease:
                found = await client.generate(lease, greedy(PROMPTS))
                assert tokens_of(found) == reference[name]

    await asyncio.gather(use("a", 4), use("b", 4), use("a", 4))


async def test_a_lease_that_ended_or_is_for_another_artifact_is_refused(client, variants):
    lease = await client.load(variants["a"])
    other = type(lease)(lease.id, "sha256:" + "0" * 64, lease.model)
    with pytest.raises(FailedPrecondition) as refusal:
        await client.generate(other, greedy(PROMPTS))
    assert refusal.value.reason == "LEASE_FOR_ANOTHER_ARTIFACT"
    await client.release(lease)
    await client.release(lease)
    with pytest.raises(FailedPrecondition) as refusal:
        await client.generate(lease, greedy(PROMPTS))
    assert refusal.value.reason == "LEASE_NOT_HELD"


async def test_an_expired_lease_lets_the_next_artifact_in(client, variants):
    lease = await client.load(variants["a"], ttl=1)
    other = await client.load(variants["b"])
    with pytest.raises(FailedPrecondition) as refusal:
        await client.generate(lease, greedy(PROMPTS))
    assert refusal.value.reason == "LEASE_NOT_HELD"
    await client.release(other)


async def test_one_request_id_is_one_lease(client, variants):
    first = await client.load(variants["a"], request_id="study-1/a")
    again = await client.load(variants["a"], request_id="study-1/a")
    assert first.id == again.id
    await client.release(first)
    fresh = await client.load(variants["a"], request_id="study-1/a")
    assert fresh.id != first.id
    await client.release(fresh)


async def test_a_leased_model_is_not_unloaded_unless_forced(client, variants):
    lease = await client.load(variants["a"])
    request = pb.UnloadModelRequest(id=lease.model.meta.id)
    with pytest.raises(FailedPrecondition) as refusal:
        await call(client.stub.UnloadModel, request)
    assert refusal.value.reason == "MODEL_LEASED"
    await client.release(lease)


async def test_ending_a_stream_aborts_its_work_in_the_engine(client, variants):
    item = sampled("long", seed=1, n=64, max_tokens=480)
    async with client.leased(variants["a"]) as lease:
        request = pb.GenerateRequest(lease_id=lease.id, artifact_digest=lease.digest, items=[item])

        async def messages():
            yield request
            await asyncio.sleep(3600)

        reading = client.stub.Generate(messages())
        await client.until_in_flight(lambda number: number > 0)
        reading.cancel()
        await client.until_in_flight(lambda number: number == 0)
        # The engine is free at once: a request of our own does not wait for 64 x 480 tokens.
        async with asyncio.timeout(20):
            await client.generate(lease, greedy(PROMPTS[:1]))


async def test_a_deadline_ends_the_stream_and_its_work_in_the_engine(gateway, client, variants):
    item = sampled("long", seed=1, n=64, max_tokens=480)
    async with client.leased(variants["a"]) as lease:
        request = pb.GenerateRequest(lease_id=lease.id, artifact_digest=lease.digest, items=[item])

        async def messages():
            yield request

        with pytest.raises(DeadlineExceeded):
            async for _ in stream(client.stub.Generate, messages(), timeout=0.5):
                pass
        await client.until_in_flight(lambda number: number == 0)


async def test_two_loads_at_once_are_served_in_turn(client, variants):
    both = [client.load(variants[name], ttl=30) for name in ("a", "b")]
    first, second = await asyncio.gather(*(_used(client, loading) for loading in both))
    assert first != second


async def test_profiling_measures_the_leased_artifact(client, variants):
    async with client.leased(variants["a"]) as lease:
        measured = await call(
            client.stub.ProfileModel,
            pb.ProfileModelRequest(
                lease_id=lease.id, prompt_tokens=32, completion_tokens=16, concurrency=4, requests=8
            ),
            timeout=120,
        )
        with pytest.raises(OutOfRange):
            await call(
                client.stub.ProfileModel,
                pb.ProfileModelRequest(lease_id=lease.id, prompt_tokens=600, requests=1),
            )
    assert timedelta() < measured.ttft_p50.ToTimedelta() <= measured.ttft_p95.ToTimedelta()
    assert measured.tokens_per_second > 0
    assert measured.memory_bytes > 5 * 10**8, "torch and vLLM alone take more"


async def test_a_corrupt_artifact_fails_by_file_and_the_resident_one_goes_on(
    client, variants, reference, tmp_path
):
    from assay_core.manifest import build_manifest, write_manifest

    damaged = tmp_path / "damaged"
    shutil.copytree(variants["a"], damaged)
    write_manifest(damaged, build_manifest(damaged, kind="artifact", identity={}))
    weights = damaged / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)

    await client.release(await client.load(variants["b"]))
    request = pb.LoadModelRequest(artifact_uri=str(damaged))
    answer = await call(client.stub.LoadModel, request)
    model = await client.settled(answer.model.meta.id)
    assert model.meta.state == common_pb2.STATE_FAILED
    assert model.meta.error.code == "DATA_LOSS"
    assert "model.safetensors" in model.meta.error.message
    async with client.leased(variants["b"]) as lease:
        assert tokens_of(await client.generate(lease, greedy(PROMPTS))) == reference["b"]


@pytest.mark.parametrize(
    ("files", "error", "says"),
    [
        (None, NotFound, "artifact_uri"),
        ({"config.json": b"{"}, DataLoss, "config.json"),
        ({"config.json": b"{}"}, FailedPrecondition, "no weights"),
        ({"config.json": b"{}", "pytorch_model.bin": b"x"}, FailedPrecondition, "pickle"),
        ({"config.json": b"{}", "model.safetensors": b"x" * 64}, DataLoss, "model.safetensors"),
    ],
)
async def test_what_cannot_be_loaded_is_refused_at_once(client, tmp_path, files, error, says):
    path = tmp_path / "checkpoint"
    if files is not None:
        path.mkdir()
        for name, content in files.items():
            (path / name).write_bytes(content)
    with pytest.raises(error) as refusal:
        async with asyncio.timeout(20):  # no engine starts in that
            await call(client.stub.LoadModel, pb.LoadModelRequest(artifact_uri=str(path)))
    assert says in refusal.value.message


async def test_the_completions_of_one_item_share_its_prefill(client, variants):
    prompt = "is a careful dog wet? " * 12
    cached = "assay_serving_cached_prompt_tokens_total"
    async with client.leased(variants["a"]) as lease:
        before = client.metric(cached)
        item = sampled("n", seed=3, n=8, max_tokens=4)
        item.text = prompt
        found = await client.generate(lease, [item])
        shared = client.metric(cached) - before
    tokens = found["n", 0].prompt_tokens
    whole_blocks = (tokens - 1) // 32 * 32
    assert shared == 7 * whole_blocks


async def test_metrics_tell_of_tokens_and_the_prefix_cache_and_rays_page_of_vllm(
    gateway, client, variants
):
    long = "the quick brown fox jumps over the lazy dog " * 8
    async with client.leased(variants["a"]) as lease:
        await client.generate(lease, greedy([long]))
        names = ("cached_prompt_tokens_total", "prompt_tokens_total", "completion_tokens_total")
        before = [client.metric(f"assay_serving_{name}") for name in names]
        again = await client.generate(lease, greedy([long]))
        after = [client.metric(f"assay_serving_{name}") for name in names]
    cached, prompt, drawn = (b - a for a, b in zip(before, after, strict=True))
    assert (prompt, drawn) == (again["p0", 0].prompt_tokens, again["p0", 0].completion_tokens)
    assert prompt - 32 <= cached < prompt, "all but the last block of 32"
    await until(lambda: "ray_vllm_prompt_tokens" in scrape(gateway.port + 300), 60)
    assert "ray_serve_" in scrape(gateway.port + 300)


async def test_listing_shows_what_is_resident(client, variants):
    async with client.leased(variants["a"]) as lease:
        listed = await call(client.stub.ListModels, pb.ListModelsRequest())
        ready = [model for model in listed.models if model.ready]
        assert [model.artifact_digest for model in ready] == [lease.digest]
        assert ready[0].leases == 1


async def _first(stub: Any, request: Any) -> Any:
    async for answer in stream(stub, request):
        return answer
    raise AssertionError("the stream was empty")


async def _used(client: Any, loading: Any) -> str:
    """Use a lease once it is granted, release it; the digest it was for."""
    lease = await loading
    assert len(await client.generate(lease, greedy(PROMPTS))) == len(PROMPTS)
    await client.release(lease)
    return lease.digest
