"""The service's overhead where a job's fixed price is not the whole: a random Llama of 160 M.

python -m benchmarks.compression.larger --write docs/compression-overhead.md
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.compression.options import add_common, publish
from benchmarks.compression.overhead import Overhead
from benchmarks.compression.random_llama import write_random_llama, write_text
from benchmarks.compression.service import running, wait_until_ready

from assay_compression.checkpoint.inspect import inspect
from assay_core.pb import common_pb2

_SHAPE: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "vocab_size": 1024,
}
_RECIPES: list[Any] = [{"magnitude": {"pattern": "2:4"}}, {"rtn": {"bits": 4}}]

_HEAD = """\
# Overhead of the service on a larger model

Written by `make bench-overhead`. On the demo model ([results](compression-results.md)) magnitude
takes a tenth of a second, and what a job costs whatever its size is a good part of that. Here is a
random Llama of {parameters:,} parameters ({layers} layers, bfloat16), {cpus} cores without GPU,
shared with other work (load {load:.0f}): medians of {runs}, service and library in turn. The
service also takes digests of what it read and wrote, statistics and histograms of every matrix
before and after, and syncs the artifact to disk; the library's call does none of that.

"""


def main() -> None:
    """Runs the benchmark and prints, or writes, its document."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=3, help="repetitions")
    add_common(options)
    arguments = options.parse_args()
    publish(asyncio.run(_run(arguments)), arguments.write)


async def _run(arguments: argparse.Namespace) -> str:
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        model = write_random_llama(home / "model", **_SHAPE)
        text = write_text(home / "calibration.txt")
        checkpoint = inspect(model)
        with running(home, text, arguments.threads) as address:
            await wait_until_ready(address)
            overhead = Overhead(home, text, arguments.threads, _calibration)
            lines = await overhead.table(address, model, _RECIPES, arguments.runs)
    head = _HEAD.format(
        parameters=checkpoint.parameters,
        layers=checkpoint.layers,
        cpus=len(os.sched_getaffinity(0)),
        load=os.getloadavg()[0],
        runs=arguments.runs,
    )
    return head + "\n".join(lines) + "\n"


def _calibration(seed: int) -> common_pb2.Calibration:
    return common_pb2.Calibration(samples=8, sequence_length=128, seed=seed)


if __name__ == "__main__":
    main()
