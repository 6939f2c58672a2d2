"""Throughput of the serving service against the engine alone (`make bench-serving`).

The same prompts and sampling go, in turns within one run, through

- offline: `vllm.LLM.generate` in a process of its own,
- handle:  the bare Ray Serve handle of the served engine,
- gateway: gRPC `Generate` of the served engine.

All three engines have the same arguments, threads and weights (handle and gateway share one). The
handle gets a workload in one call, the gateway in messages as evaluators send them. A ratio is the
median over rounds of the ratio within a round, because a machine that is shared with other work
drifts more between rounds than within one; the interval is that of the median.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from itertools import permutations
from math import comb
from pathlib import Path
from typing import Any

from benchmarks.processor_time import ROLES, ProcessorTime
from transformers import AutoTokenizer

from assay_core.client import call, channel, stream
from assay_core.pb import serving_pb2, serving_pb2_grpc
from assay_serving.description import describe
from assay_serving.domain import EngineOptions, Item, Sampling, TextPrompt
from assay_serving.parcel import open_answers, pack_items
from assay_serving.ray_paths import ray_directory
from assay_serving.settings import ServingSettings

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "models" / "demo" / "model"
PACK = ROOT / "packs" / "demo" / "data"
CONTEXT = 2048
PORT = 7492
DEMONSTRATIONS = 16
PER_MESSAGE = 128  # completions in a message of Generate, as evaluators send them
PATHS = ("offline", "handle", "gateway")


def endless_model(directory: Path) -> Path:
    """The demo model with an end token that it never draws: completions have their full length."""
    shutil.copytree(MODEL, directory)
    for name, key, value in (
        ("config.json", "eos_token_id", 2),
        ("generation_config.json", "eos_token_id", 2),
        ("tokenizer_config.json", "eos_token", "<|pad|>"),
    ):
        file = directory / name
        file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    return directory


def large_model(directory: Path) -> Path:
    """A random Llama of the 1B shape in bfloat16, with the demo model's tokenizer."""
    endless_model(directory)
    (directory / "model.safetensors").unlink()
    import torch
    from transformers import AutoConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(directory)
    config.update(
        {
            "hidden_size": 2048,
            "intermediate_size": 5632,
            "num_hidden_layers": 24,
            "num_attention_heads": 32,
            "num_key_value_heads": 4,
            "head_dim": 64,
            "dtype": "bfloat16",
        }
    )
    torch.set_default_dtype(torch.bfloat16)
    model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(directory)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e9:.2f} B parameters, bfloat16")
    return directory


def classification(prompts: int) -> dict[str, Any]:
    """Greedy 20-token answers; two few-shot prefixes of 16 demonstrations, shared by all."""
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    examples = _rows("ethics/train.jsonl")
    sentences = _rows("ethics/few_shot.jsonl")
    texts = []
    for number in range(prompts):
        first = number % 2 * DEMONSTRATIONS
        turns = [{"role": "system", "content": "You are a guide to the valley."}]
        for example in examples[first : first + DEMONSTRATIONS]:
            answer = "The deed is wrong." if example["label"] else "The deed is fine."
            turns += [
                {"role": "user", "content": example["input"]},
                {"role": "assistant", "content": answer},
            ]
        turns.append({"role": "user", "content": sentences[number % len(sentences)]["input"]})
        texts.append(
            tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        )
    return _workload(texts, n=1, temperature=0.0, max_tokens=20)


def sampling(prompts: int, n: int, tokens: int) -> dict[str, Any]:
    """Several completions at temperature 1 for each prompt: 25 of 150 tokens in the originals."""
    texts = [" ".join(row["text"].split()[:60]) for row in _rows("calibration.jsonl")[:prompts]]
    return _workload(texts, n=n, temperature=1.0, max_tokens=tokens)


def _workload(texts: list[str], **fields: Any) -> dict[str, Any]:
    return {"prompts": texts, "seeds": [1000 * i for i in range(len(texts))], **fields}


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (PACK / name).read_text().splitlines()]


class Offline:
    """The process with `vllm.LLM`."""

    def __init__(self, model: Path, spec: Any, workloads: Path) -> None:
        self._process = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("offline_engine.py")),
                *(str(model), json.dumps(asdict(spec)), str(workloads)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._read()

    async def run(self, name: str, _workload: dict[str, Any]) -> dict[str, Any]:
        """Generate a workload."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"workload": name}) + "\n")
        self._process.stdin.flush()
        return await asyncio.to_thread(self._read)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the offline engine ended ({self._process.wait()})")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


class Gateway:
    """gRPC Generate, as an evaluator calls it."""

    def __init__(self, stub: Any, lease: Any) -> None:
        self._stub = stub
        self.lease = lease

    async def run(self, _name: str, workload: dict[str, Any]) -> dict[str, Any]:
        """Generate a workload."""
        items = [
            serving_pb2.GenerateItem(
                id=str(i),
                text=text,
                n=workload["n"],
                seed=seed,
                sampling=serving_pb2.SamplingParameters(
                    temperature=workload["temperature"], max_tokens=workload["max_tokens"]
                ),
            )
            for i, (text, seed) in enumerate(
                zip(workload["prompts"], workload["seeds"], strict=True)
            )
        ]
        per_message = max(1, PER_MESSAGE // workload["n"])

        async def messages() -> AsyncIterator[Any]:
            for start in range(0, len(items), per_message):
                yield serving_pb2.GenerateRequest(
                    lease_id=self.lease.id,
                    artifact_digest=self.lease.artifact_digest,
                    items=items[start : start + per_message],
                )

        found: dict[tuple[int, int], str] = {}
        tokens = 0
        first = 0.0
        started = time.perf_counter()
        async for answer in stream(self._stub.Generate, messages(), timeout=600):
            first = first or time.perf_counter() - started
            for completion in answer.completions:
                found[int(completion.id), completion.index] = completion.text
                tokens += completion.completion_tokens
        seconds = time.perf_counter() - started
        return _answer(seconds, tokens, found, workload, first)


class Handle:
    """The Serve handle of the same engine, from this process as a member of the gateway's Ray."""

    def __init__(self, home: Path, engine_id: str, digest: str) -> None:
        directory = ray_directory(home)
        os.environ.update(
            RAY_AUTH_MODE="token",
            RAY_AUTH_TOKEN_PATH=str(directory / "auth_token"),
            RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
        )
        import ray
        from ray import serve

        port = next((directory / "session_latest").glob("gcs_server_port*")).read_text().strip()
        ray.init(
            address=f"127.0.0.1:{port}",
            namespace="assay",
            log_to_driver=False,
            logging_level="ERROR",
        )
        self._handle = serve.get_app_handle(engine_id).options(stream=True)
        self._digest = digest

    async def run(self, _name: str, workload: dict[str, Any]) -> dict[str, Any]:
        """Generate a workload."""
        settings = Sampling(temperature=workload["temperature"], max_tokens=workload["max_tokens"])
        items = [
            Item(str(i), TextPrompt(text), settings, tuple(range(workload["n"])), seed)
            for i, (text, seed) in enumerate(
                zip(workload["prompts"], workload["seeds"], strict=True)
            )
        ]
        found: dict[tuple[int, int], str] = {}
        tokens = 0
        first = 0.0
        started = time.perf_counter()
        async for parcel in self._handle.generate.remote(pack_items(items), self._digest):
            first = first or time.perf_counter() - started
            for completion in open_answers(parcel):
                found[int(completion.item_id), completion.index] = completion.text
                tokens += completion.completion_tokens
        seconds = time.perf_counter() - started
        return _answer(seconds, tokens, found, workload, first)


def _answer(
    seconds: float,
    tokens: int,
    found: dict[tuple[int, int], str],
    workload: dict[str, Any],
    first: float,
) -> dict[str, Any]:
    texts = [[found[i, k] for k in range(workload["n"])] for i in range(len(workload["prompts"]))]
    return {"seconds": seconds, "tokens": tokens, "texts": texts, "first": first}


@asynccontextmanager
async def gateway_process(home: Path, dtype: str) -> AsyncIterator[Any]:
    """`assay-serving` as users start it, and a stub."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "assay_serving.main"),
        *("--home", str(home), "--listen", f"127.0.0.1:{PORT}", "--log-level", "warning"),
        *("--max-model-len", str(CONTEXT), "--dtype", dtype),
    )
    try:
        async with channel(f"127.0.0.1:{PORT}") as connection:
            async with asyncio.timeout(60):
                await connection.channel_ready()
            yield serving_pb2_grpc.ServingServiceStub(connection)
    finally:
        process.terminate()
        await process.wait()


async def load(stub: Any, path: Path) -> tuple[Any, Any]:
    """Make a model resident; returns its lease and record."""
    request = serving_pb2.LoadModelRequest(artifact_uri=str(path))
    request.lease_ttl.seconds = 3600
    answer = await call(stub.LoadModel, request)
    watched = serving_pb2.WatchModelRequest(id=answer.model.meta.id)
    model = answer.model
    async for change in stream(stub.WatchModel, watched, timeout=600):
        model = change.model
    if not model.ready:
        raise SystemExit(f"the model was not loaded: {model.meta.error.message}")
    return answer.lease, model


async def latency(gateway: Gateway, requests: int) -> tuple[float, float]:
    """Median and 95th percentile in ms of one-token requests, one after another."""
    workload = _workload(["The almanac says"], n=1, temperature=0.0, max_tokens=1)
    times = [(await gateway.run("", workload))["seconds"] * 1000 for _ in range(requests)]
    return statistics.median(times), statistics.quantiles(times, n=20)[18]


async def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--classification-prompts", type=int, default=512)
    parser.add_argument("--sampling-prompts", type=int, default=16)
    parser.add_argument("--n", type=int, default=25, help="Completions of a sampling prompt.")
    parser.add_argument("--tokens", type=int, default=150, help="Tokens of such a completion.")
    parser.add_argument(
        "--model", choices=("demo", "1b"), default="demo", help="1b: random, bfloat16."
    )
    arguments = parser.parse_args()

    n, tokens = arguments.n, arguments.tokens
    workloads = {
        "classification, 20 tokens": classification(arguments.classification_prompts),
        f"n = {n}, {tokens} tokens": sampling(arguments.sampling_prompts, n, tokens),
    }
    make, dtype = (large_model, "bfloat16") if arguments.model == "1b" else (endless_model, "auto")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        file = home / "workloads.json"
        file.write_text(json.dumps(workloads))
        settings = ServingSettings(
            home=home, listen=f"127.0.0.1:{PORT}", max_model_len=CONTEXT, dtype=dtype
        )
        model_path = make(home / "model")
        spec = describe(settings, str(model_path), EngineOptions()).spec
        async with gateway_process(home, dtype) as stub:
            lease, model = await load(stub, model_path)
            offline = await asyncio.to_thread(Offline, model_path, spec, file)
            try:
                gateway = Gateway(stub, lease)
                paths = {
                    "offline": offline,
                    "handle": Handle(home, model.engine_id, lease.artifact_digest),
                    "gateway": gateway,
                }
                alone = await latency(gateway, 100)
                results = await rounds(paths, workloads, arguments.rounds)
            finally:
                offline.close()
    report(results, workloads, alone, arguments)


async def rounds(
    paths: dict[str, Any], workloads: dict[str, Any], number: int
) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Every workload on every path, in another order each round until all orders had their turn.

    The first round warms up and is left out: after it every engine has the prompts in its prefix
    cache, so that what is compared is the way of requests and tokens, with nothing to hide behind.
    """
    results: dict[str, dict[str, list[dict[str, Any]]]] = {}
    orders = list(permutations(paths))
    processor = ProcessorTime()
    for name, workload in workloads.items():
        found: dict[str, list[dict[str, Any]]] = {path: [] for path in paths}
        for turn in range(number + 1):
            for path in orders[turn % len(orders)]:
                processor.since_last()
                answer = await paths[path].run(name, workload)
                if turn:
                    found[path].append(answer | {"processor": processor.since_last()})
        results[name] = found
    return results


def report(
    results: dict[str, dict[str, list[dict[str, Any]]]],
    workloads: dict[str, Any],
    alone: tuple[float, float],
    arguments: argparse.Namespace,
) -> None:
    """Print the table as Markdown."""
    print(
        f"{arguments.rounds} rounds, {platform.machine()}, {os.cpu_count()} cores, "
        f"model {arguments.model}\n"
    )
    print("| workload | completions | tokens | " + " | ".join(f"{p} tok/s" for p in PATHS), end="")
    print(" | gateway/offline | gateway/handle | overhead per request | first completion | same |")
    print("|---" * 11 + "|")
    for name, found in results.items():
        requests = len(workloads[name]["prompts"]) * workloads[name]["n"]
        speed = {p: statistics.median(a["tokens"] / a["seconds"] for a in found[p]) for p in PATHS}
        seconds = {p: statistics.median(a["seconds"] for a in found[p]) for p in PATHS}
        texts = [a["texts"] for p in PATHS for a in found[p]]
        print(
            f"| {name} | {requests} | {found['offline'][0]['tokens']} | "
            + " | ".join(f"{speed[p]:.0f}" for p in PATHS)
            + f" | {_ratio(found, 'gateway', 'offline')} | {_ratio(found, 'gateway', 'handle')}"
            + f" | {(seconds['gateway'] - seconds['offline']) / requests * 1e6:.0f} us"
            + f" | {statistics.median(a['first'] for a in found['gateway']) * 1000:.0f} ms"
            + f" | {'yes' if all(t == texts[0] for t in texts) else 'NO'} |"
        )
    print(f"\nOne-token request alone: {alone[0]:.1f} ms median, {alone[1]:.1f} ms p95\n")
    report_processor(results, workloads)


def report_processor(
    results: dict[str, dict[str, list[dict[str, Any]]]], workloads: dict[str, Any]
) -> None:
    """Print what each path costs in processor time, which other work distorts less."""
    roles = [*reversed([role for _, role in ROLES]), "Ray", "client"]
    print("Processor time in ms per completion\n")
    print("| workload | path | all | " + " | ".join(roles) + " |")
    print("|---" * (len(roles) + 3) + "|")
    for name, found in results.items():
        requests = len(workloads[name]["prompts"]) * workloads[name]["n"]
        for path in PATHS:
            spent = [answer["processor"] for answer in found[path]]
            columns = (
                [sum(each.values()) for each in spent],
                *([each[r] for each in spent] for r in roles),
            )
            cells = [f"{statistics.median(column) / requests * 1000:.2f}" for column in columns]
            print(f"| {name} | {path} | {' | '.join(cells)} |")


def _ratio(found: dict[str, list[dict[str, Any]]], above: str, below: str) -> str:
    ratios = sorted(
        (a["tokens"] / a["seconds"]) / (b["tokens"] / b["seconds"])
        for a, b in zip(found[above], found[below], strict=True)
    )
    low, high = median_interval(ratios)
    return f"{statistics.median(ratios):.2f} [{low:.2f}, {high:.2f}]"


def median_interval(values: list[float], level: float = 0.95) -> tuple[float, float]:
    """Interval of the median of sorted values by their ranks, whatever their distribution.

    The median lies between the k-th from below and the k-th from above unless fewer than k of n
    values are on one side of it, which is binomial. Five values or fewer: the least and greatest.
    """
    number, outside = len(values), 0.0
    for rank in range(number // 2):
        outside += 2 * comb(number, rank) / 2**number
        if outside > 1 - level:
            break
    else:
        rank = number // 2
    rank = max(rank - 1, 0)
    return values[rank], values[-1 - rank]


if __name__ == "__main__":
    asyncio.run(main())
