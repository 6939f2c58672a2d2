"""Each family of models on a real engine: tokens of transformers, before and after a swap in place.

One engine start each, a minute on a busy machine: `make test-families`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from services.serving.tests.conftest import CONTEXT, Client, Gateway, make_tokenizer, start_gateway
from services.serving.tests.packed_llama import FORMATS, write_packed

from assay_core.client import call
from assay_core.errors import FailedPrecondition, InvalidArgument
from assay_core.pb import serving_pb2 as pb

pytestmark = [pytest.mark.engine, pytest.mark.slow]

PROMPTS = ["the quick brown fox", "is water wet?", "a careful assistant"]
NEW_TOKENS = 16
SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.15,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "dtype": "float32",
}
FAMILIES: dict[str, Any] = {
    "llama": lambda v: transformers.LlamaConfig(vocab_size=v, num_key_value_heads=2, **SHAPE),
    "llama-tied": lambda v: transformers.LlamaConfig(
        vocab_size=v, num_key_value_heads=2, tie_word_embeddings=True, **SHAPE
    ),
    "mistral": lambda v: transformers.MistralConfig(
        vocab_size=v, num_key_value_heads=2, sliding_window=None, **SHAPE
    ),
    "qwen2": lambda v: transformers.Qwen2Config(vocab_size=v, num_key_value_heads=2, **SHAPE),
    "qwen3": lambda v: transformers.Qwen3Config(
        vocab_size=v, num_key_value_heads=2, head_dim=32, **SHAPE
    ),
    "gpt2": lambda v: transformers.GPT2Config(
        vocab_size=v,
        n_embd=128,
        n_layer=2,
        n_head=4,
        n_positions=CONTEXT,
        initializer_range=0.15,
        bos_token_id=0,
        eos_token_id=1,
        dtype="float32",
    ),
    "gpt-neox": lambda v: transformers.GPTNeoXConfig(
        vocab_size=v, rotary_pct=0.25, tie_word_embeddings=False, **SHAPE
    ),
}


def make(directory: Path, family: str, seed: int) -> Path:
    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    config = FAMILIES[family](len(tokenizer))
    model = transformers.AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        if parameter.dim() == 1:  # Norms and biases start as ones and zeros: a swap must show.
            torch.nn.init.normal_(parameter, mean=float(parameter.mean()), std=0.1)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def greedy_of(path: Path) -> list[list[int]]:
    """Tokens that transformers generates greedily, up to the end of sequence."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    found = []
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        with torch.inference_mode():
            out = model.generate(ids, do_sample=False, max_new_tokens=NEW_TOKENS, pad_token_id=1)
        found.append(out[0, ids.shape[1] :].tolist())
    return found


async def served(client: Client, lease: Any) -> list[list[int]]:
    sampling = pb.SamplingParameters(temperature=0.0, max_tokens=NEW_TOKENS, logprobs=1)
    items = [pb.GenerateItem(id=str(i), text=t, sampling=sampling) for i, t in enumerate(PROMPTS)]
    found = await client.generate(lease, items)
    return [[entry.token_id for entry in found[str(i), 0].logprobs] for i in range(len(items))]


@pytest.fixture(scope="module")
def families_gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    started = start_gateway(tmp_path_factory.mktemp("home"))
    yield started
    started.process.terminate()
    started.process.wait(timeout=60)


@pytest.fixture
async def client(families_gateway: Gateway) -> AsyncIterator[Client]:
    async with families_gateway.client() as connected:
        yield connected


@pytest.mark.parametrize("family", FAMILIES)
async def test_greedy_tokens_equal_transformers_before_and_after_a_swap(client, tmp_path, family):
    first, second = (make(tmp_path / str(seed), family, seed) for seed in (1, 2))
    expected = {path: greedy_of(path) for path in (first, second)}
    assert expected[first] != expected[second]
    for path, swapped in ((first, False), (second, True), (first, True)):
        async with client.leased(path) as lease:
            assert await served(client, lease) == expected[path]
            assert lease.model.swapped is swapped


async def test_a_base_model_without_a_chat_template_gets_the_plain_one(client, tmp_path):
    turns = [("system", "be brief"), ("user", "is water wet?")]
    rendered = "System: be brief\n\nUser: is water wet?\n\nAssistant:"
    sampling = pb.SamplingParameters(temperature=0.0, max_tokens=8)
    messages = [pb.ChatMessage(role=role, content=content) for role, content in turns]
    items = [
        pb.GenerateItem(id="chat", chat=pb.ChatMessages(messages=messages), sampling=sampling),
        pb.GenerateItem(id="text", text=rendered, sampling=sampling),
    ]
    async with client.leased(make(tmp_path / "m", "gpt-neox", 1)) as lease:
        found = await client.generate(lease, items)
    assert found["chat", 0].text == found["text", 0].text
    assert found["chat", 0].prompt_digest == found["text", 0].prompt_digest


@pytest.mark.parametrize("format_name", FORMATS)
async def test_packed_four_bits_have_an_engine_of_their_own_and_give_the_dense_values(
    client, tmp_path, format_name
):
    packed, dense = write_packed(tmp_path, format_name, bits=4)
    sampling = pb.SamplingParameters(temperature=0.0, max_tokens=1, prompt_logprobs=True)
    item = pb.GenerateItem(id="p", text=PROMPTS[0], sampling=sampling)
    async with client.leased(packed) as lease:
        assert not lease.model.swapped
        assert lease.model.engine.dtype == "bfloat16"
        found = (await client.generate(lease, [item]))["p", 0]
    # The same dense values in the same precision, by transformers.
    tokenizer = transformers.AutoTokenizer.from_pretrained(dense)
    model = transformers.AutoModelForCausalLM.from_pretrained(dense, dtype=torch.bfloat16).eval()
    ids = tokenizer(PROMPTS[0], return_tensors="pt").input_ids
    with torch.inference_mode():
        log_softmax = model(ids).logits.float().log_softmax(-1)[0, :-1]
    expected = log_softmax.gather(1, ids[0, 1:, None])[:, 0].tolist()
    assert [entry.logprob for entry in found.prompt_logprobs] == pytest.approx(expected, abs=0.3)


async def test_packed_weights_in_another_precision_are_refused_by_field(client, tmp_path):
    packed, _ = write_packed(tmp_path, "gptq", bits=4)
    options = pb.EngineOptions(dtype="float32")
    request = pb.LoadModelRequest(artifact_uri=str(packed), options=options)
    with pytest.raises(InvalidArgument) as refusal:
        await call(client.stub.LoadModel, request)
    assert refusal.value.field == "options.dtype"


@pytest.mark.parametrize("format_name", FORMATS)
async def test_packed_eight_bits_are_refused_at_once_on_a_cpu(client, tmp_path, format_name):
    packed, _ = write_packed(tmp_path, format_name, bits=8)
    with pytest.raises(FailedPrecondition) as refusal:
        await call(client.stub.LoadModel, pb.LoadModelRequest(artifact_uri=str(packed)))
    assert refusal.value.reason == "PACKING_NOT_SERVED"
