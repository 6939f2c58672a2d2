"""The serving half of `make bench-scale`: load, swap in place, 1,000 completions.

python -m benchmarks.scale_serving VARIANT VARIANT --write docs/compression-scale.md

Two dense-layout variants of one shape, as `benchmarks.scale --keep` leaves them, go through the
serving service as users start it. Appends its table to the document.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from benchmarks.serving import Gateway, gateway_process, load

from assay_core.client import call
from assay_core.pb import serving_pb2

_PROMPTS, _COMPLETIONS, _TOKENS = 40, 25, 16
_HEAD = """
## Serving

The two variants above ({size:,} MiB each) in one vLLM engine of the serving service, bfloat16; load
average {load:.0f} on {cpus} cores when it ended. A swap counts from LoadModel to ready, digests
verified; memory is the peak of the largest process, the engine's.

| step | result |
|---|---|
"""


def main() -> None:
    """Runs the benchmark and prints, or appends, its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variants", type=Path, nargs=2)
    parser.add_argument("--write", type=Path, help="file to append to; standard output without it")
    arguments = parser.parse_args()
    # Short, because Ray's sockets live below a path of their own and Unix sockets have a limit.
    home = Path(tempfile.mkdtemp(prefix="assay"))
    try:
        document = asyncio.run(_run(home, arguments.variants))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    print(document)
    if arguments.write is not None:
        with arguments.write.open("a", encoding="utf-8") as file:
            file.write(document)


async def _run(home: Path, variants: list[Path]) -> str:
    seconds: list[float] = []
    async with gateway_process(home, "bfloat16") as stub:
        lease = None
        for variant in (*variants, variants[0], variants[1]):
            if lease is not None:
                request = serving_pb2.ReleaseLeaseRequest(lease_id=lease.id)
                await call(stub.ReleaseLease, request)
            started = time.perf_counter()
            lease, _ = await load(stub, variant)
            seconds.append(time.perf_counter() - started)
        answer = await Gateway(stub, lease).run("", _workload(variants[1]))
        peak = _peak_memory()
    size = sum(file.stat().st_size for file in variants[0].glob("*.safetensors"))
    completions = sum(len(texts) for texts in answer["texts"])
    rows = [
        ("first load, engine started", f"{seconds[0]:.1f} s"),
        ("swaps in place", ", ".join(f"{each:.1f}" for each in seconds[1:]) + " s"),
        (
            f"{completions:,} completions of {_TOKENS} tokens, temperature 1",
            f"{answer['seconds']:.1f} s, {answer['tokens'] / answer['seconds']:,.0f} tokens/s",
        ),
        ("peak memory of the engine", f"{peak >> 20:,} MiB"),
    ]
    head = _HEAD.format(size=size >> 20, load=os.getloadavg()[0], cpus=len(os.sched_getaffinity(0)))
    return head + "\n".join(f"| {step} | {result} |" for step, result in rows) + "\n"


def _peak_memory() -> int:
    """Bytes that the largest process below this one has had resident at most."""
    peaks = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{process.pid}/status").read_text()
            lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
            peaks += [int(line.split()[1]) << 10 for line in lines]
    return max(peaks)


def _workload(model: Path) -> dict[str, Any]:
    words = list(json.loads((model / "tokenizer.json").read_text())["model"]["vocab"])
    texts = [" ".join(words[start : start + 32]) for start in range(_PROMPTS)]
    seeds = [1000 * number for number in range(_PROMPTS)]
    sampling = {"n": _COMPLETIONS, "temperature": 1.0, "max_tokens": _TOKENS}
    return {"prompts": texts, "seeds": seeds, **sampling}


if __name__ == "__main__":
    main()
