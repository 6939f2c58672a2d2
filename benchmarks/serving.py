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
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from itertools import permutations
from pathlib import Path
from typing import Any

from benchmarks.processor_time import ProcessorTime
from benchmarks.serving_report import report
from benchmarks.serving_workloads import (
    classification,
    endless_model,
    large_model,
    sampling,
    workload_of,
)

from assay_core.client import call, channel, stream
from assay_core.pb import serving_pb2, serving_pb2_grpc
from assay_serving.description import describe
from assay_serving.domain import EngineOptions, Item, Sampling, TextPrompt
from assay_serving.parcel import open_answers, pack_items
from assay_serving.ray_paths import ray_directory
from assay_serving.settings import ServingSettings

CONTEXT = 2048
PORT = 7492
PER_MESSAGE = 128  # completions in a message of Generate, as evaluators send them


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
    alone = workload_of(["The almanac says"], n=1, temperature=0.0, max_tokens=1)
    times = [(await gateway.run("", alone))["seconds"] * 1000 for _ in range(requests)]
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


if __name__ == "__main__":
    asyncio.run(main())
