"""A tiny random Llama, and one real gateway process with one real engine per session.

The model is real in every part (byte-level BPE, rotary attention, safetensors) and built in a
second; its wide initialisation keeps greedy choices clear-cut, so that two implementations of
float32 agree.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from services.serving.tests.memory_runtime import World

from assay_core.client import call, channel, stream
from assay_core.pb import common_pb2, serving_pb2, serving_pb2_grpc

CORPUS = [
    "the quick brown fox jumps over the lazy dog",
    "is water wet? yes, water is wet.",
    "a careful assistant answers every question in one short sentence",
]
CONTEXT = 512
LOAD_SECONDS = 500.0


def make_tokenizer(chat_template: str | None = None) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE(unk_token=None))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(CORPUS, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = chat_template
    return tokenizer


def make_model(directory: Path, *, seed: int) -> Path:
    """Two seeds are two variants of one architecture and tokenizer: swappable in place."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.15,
        # A swap has to reach the output layer too, which is not in the checkpoint then.
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        dtype="float32",
    )
    LlamaForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that take the session's engine and gateway away come last."""
    last = ("test_faults.py", "test_kills.py")
    items.sort(key=lambda item: item.path.name in last)


@pytest.fixture(scope="session")
def variants(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two checkpoints that differ in their weights only."""
    base = tmp_path_factory.mktemp("models")
    return {name: make_model(base / name, seed=seed) for name, seed in (("a", 1), ("b", 2))}


@dataclass(frozen=True)
class Lease:
    """What LoadModel gave for a checkpoint that is resident now."""

    id: str
    digest: str
    model: Any


class Client:
    """The few calls of the tests, over one channel."""

    def __init__(self, stub: Any, metrics_port: int) -> None:
        self.stub = stub
        self._metrics_port = metrics_port

    async def load(self, path: Path | None, *, ttl: int = 120, **fields: Any) -> Lease:
        """Load a checkpoint (or `endpoint`), wait until it is resident."""
        request = serving_pb2.LoadModelRequest(artifact_uri=str(path or ""), **fields)
        request.lease_ttl.seconds = ttl
        answer = await call(self.stub.LoadModel, request)
        model = await self.settled(answer.model.meta.id)
        assert model.meta.state == common_pb2.STATE_SUCCEEDED, model.meta.error
        return Lease(answer.lease.id, model.artifact_digest, model)

    async def settled(self, model_id: str) -> Any:
        """The model once its watch has ended."""
        request = serving_pb2.WatchModelRequest(id=model_id)
        last = None
        async for change in stream(self.stub.WatchModel, request, timeout=LOAD_SECONDS):
            last = change.model
        return last

    async def release(self, lease: Lease) -> None:
        """End a lease."""
        await call(self.stub.ReleaseLease, serving_pb2.ReleaseLeaseRequest(lease_id=lease.id))

    @asynccontextmanager
    async def leased(self, path: Path | None, **fields: Any) -> AsyncIterator[Lease]:
        """Load, and release at the end."""
        lease = await self.load(path, **fields)
        try:
            yield lease
        finally:
            await self.release(lease)

    async def generate(
        self, lease: Lease, items: Sequence[Any], *, per_message: int = 256
    ) -> dict[tuple[str, int], Any]:
        """Every completion by item id and index; each answer must carry the lease's digest."""

        async def messages() -> AsyncIterator[Any]:
            for start in range(0, len(items), per_message):
                yield serving_pb2.GenerateRequest(
                    lease_id=lease.id,
                    artifact_digest=lease.digest,
                    items=items[start : start + per_message],
                )

        found = {}
        async for answer in stream(self.stub.Generate, messages(), timeout=300):
            assert answer.artifact_digest == lease.digest
            for completion in answer.completions:
                assert (completion.id, completion.index) not in found
                found[completion.id, completion.index] = completion
        return found

    async def until_in_flight(self, condition: Any) -> None:
        """Wait until the number of completions in the engine meets a condition."""
        name = "assay_serving_in_flight_completions"

        async def met() -> bool:
            # Read beside the event loop, which sends what is waited for.
            return condition(await asyncio.to_thread(self.metric, name))

        await until(met, 60)

    def metric(self, name: str) -> float:
        """A metric without labels, as Prometheus would scrape it."""
        for line in scrape(self._metrics_port).splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {name}")


@dataclass(frozen=True)
class Gateway:
    """A running gateway process."""

    process: subprocess.Popen[bytes]
    port: int
    http_port: int
    home: Path
    log: Path

    @property
    def openai_url(self) -> str:
        """Base URL for OpenAI clients."""
        return f"http://127.0.0.1:{self.http_port}/v1"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A client on a channel of its own."""
        async with channel(f"127.0.0.1:{self.port}") as connection:
            async with asyncio.timeout(60):
                await connection.channel_ready()
            yield Client(serving_pb2_grpc.ServingServiceStub(connection), self.port + 100)


def scrape(port: int) -> str:
    """A Prometheus page."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        return response.read().decode()


def free_port() -> int:
    """A port P such that P, P + 100 (metrics), + 200 (HTTP) and + 300 (Ray's) are free."""
    while True:
        with ExitStack() as stack:
            first, *others = (stack.enter_context(socket.socket()) for _ in range(4))
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                for step, other in enumerate(others, 1):
                    other.bind(("127.0.0.1", port + 100 * step))
            except (OSError, OverflowError):
                continue
            return port


def start_gateway(home: Path, *, port: int = 0, **settings: str) -> Gateway:
    """Start `assay-serving` as users do; its output goes to a file in `home`."""
    port = port or free_port()
    log = home / "gateway.log"
    door = {"url": f"http://127.0.0.1:{port + 200}/v1", "model": "a"}
    settings = {"endpoints": json.dumps({"own-door": door})} | settings
    environment = os.environ | {f"ASSAY_SERVING_{k.upper()}": v for k, v in settings.items()}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "assay_serving.main"),
                *("--home", str(home), "--listen", f"127.0.0.1:{port}"),
                *("--http-listen", f"127.0.0.1:{port + 200}"),
                *("--engine-metrics-port", str(port + 300)),
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    return Gateway(process, port, port + 200, home, log)


def descendants(root: int) -> dict[int, str]:
    """Every process below `root`, with its command line."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found: dict[int, str] = {}
    todo = [root]
    while todo:
        for child in children.get(todo.pop(), ()):
            if command := command_of(child):
                found[child] = command
            todo.append(child)
    return found


def command_of(pid: int) -> str:
    """Command line of a process; empty once it is gone or a zombie."""
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


async def until(condition: Any, seconds: float) -> None:
    """Poll a condition, plain or to be awaited; TimeoutError if it does not come true in time."""
    end = time.monotonic() + seconds
    while not (await found if inspect.isawaitable(found := condition()) else found):
        if time.monotonic() > end:
            raise TimeoutError
        await asyncio.sleep(0.05)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.manager.drain()
    await made.registry.close()


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The session's gateway; the first test that loads a model starts its engine."""
    started = start_gateway(tmp_path_factory.mktemp("home"))
    yield started
    if started.process.poll() is None:
        started.process.terminate()
        started.process.wait(timeout=60)


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[Client]:
    """A client of the session's gateway."""
    async with gateway.client() as connected:
        yield connected
