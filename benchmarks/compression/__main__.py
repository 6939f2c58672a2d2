"""Every method and level on the demo model: perplexity, size, time; then the service's overhead.

python -m benchmarks.compression --write docs/compression-results.md
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.compression.document import Row, render
from benchmarks.compression.perplexity import losses, read_documents
from benchmarks.compression.service import Made, make, running, wait_until_ready

from assay_core.pb import common_pb2
from assay_core.recipes import Recipe

_ROOT = Path(__file__).parents[2]
_PRUNED = [{"pattern": "unstructured"}, {"pattern": "4:8"}, {"pattern": "2:4"}]
RECIPES: list[Any] = [
    "dense",
    *({"rtn": {"bits": bits}} for bits in (8, 4, 3, 2)),
    *({"awq": {"bits": bits}} for bits in (8, 4, 3)),
    *({"gptq": {"bits": bits}} for bits in (8, 4, 3, 2)),
    *({method: pattern} for method in ("magnitude", "wanda", "sparsegpt") for pattern in _PRUNED),
    {"noise": {"match_bits": 4}},
]
# What llm-compressor has a call for that runs without an accelerator; magnitude is our routine.
COMPARED: list[Any] = [
    {"gptq": {"bits": 4}},
    {"rtn": {"bits": 4}},
    {"sparsegpt": {"pattern": "2:4"}},
    {"wanda": {"pattern": "2:4"}},
    {"magnitude": {"pattern": "2:4"}},
]
_SAMPLES, _LENGTH = 128, 512


def main() -> None:
    """Runs the benchmark and prints, or writes, its document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=_ROOT / "models/demo/model")
    parser.add_argument("--pack", type=Path, default=_ROOT / "packs/demo/data")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--runs", type=int, default=3, help="seeds, and repetitions of timings")
    parser.add_argument("--write", type=Path, help="file to write; standard output without it")
    arguments = parser.parse_args()
    document = asyncio.run(_run(arguments))
    if arguments.write is None:
        print(document)
    else:
        arguments.write.write_text(document, encoding="utf-8")


async def _run(arguments: argparse.Namespace) -> str:
    calibration = arguments.pack / "calibration.jsonl"
    heldout = arguments.pack / "utility" / "perplexity.jsonl"
    documents = read_documents(heldout, arguments.model / "tokenizer.json")
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        with running(home, calibration, arguments.threads) as address:
            await wait_until_ready(address)
            rows = []
            for recipe in map(Recipe.parse, RECIPES):
                seeds = range(arguments.runs if recipe.needs_calibration else 1)
                row = await _row(address, arguments.model, recipe, documents, seeds)
                rows.append(row)
                _say(f"{row.label}: {row.losses[0].perplexity:.3f}")
            overhead = await _overhead(address, arguments, calibration, home)
    return render(rows, overhead, calibration=_calibration(0), runs=arguments.runs)


async def _row(
    address: str, model: Path, recipe: Recipe, documents: list[Any], seeds: range
) -> Row:
    made = [await make(address, model, recipe, _calibration(seed)) for seed in seeds]
    return Row(
        recipe.label(),
        made[0].artifact,
        seconds=[each.seconds for each in made],
        losses=[losses(each.folder, documents) for each in made],
    )


async def _overhead(
    address: str, arguments: argparse.Namespace, calibration: Path, home: Path
) -> list[str]:
    """Service and library in turn on the same input, so that a busy machine slows both."""
    lines = [
        "| recipe | service s | library s | time | service MiB | library MiB | memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for value in COMPARED:
        recipe = Recipe.parse(value)
        mine: list[Made] = []
        theirs: list[dict[str, float]] = []
        for i in range(arguments.runs):
            # Seeds that the table above did not use: nothing comes from a cache. Methods without
            # data would be a cache hit, so each run compresses a copy of its own.
            seed = 100 + i
            model = _copy(arguments.model, home / f"{recipe.name}-{i}")
            mine.append(await make(address, model, recipe, _calibration(seed)))
            job = ("--model", str(model), "--calibration", str(calibration), "--seed", str(seed))
            theirs.append(_bare(recipe, job, arguments.threads, home / "bare"))
        seconds = median(m.seconds for m in mine), median(t["seconds"] for t in theirs)
        peaks = (
            median(m.artifact.run.peak_memory_bytes for m in mine),
            median(t["peak_memory_bytes"] for t in theirs),
        )
        lines.append(
            f"| {recipe.label()} | {seconds[0]:.2f} | {seconds[1]:.2f} "
            f"| {seconds[0] / seconds[1]:.2f}x | {peaks[0] / 2**20:.0f} | {peaks[1] / 2**20:.0f} "
            f"| {peaks[0] / peaks[1]:.2f}x |"
        )
        _say(lines[-1])
    return lines


def _copy(model: Path, target: Path) -> Path:
    """The model with a configuration of its own, hence a digest of its own."""
    target.mkdir()
    for file in model.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    config = json.loads((target / "config.json").read_text())
    config["benchmark_copy"] = target.name
    (target / "config.json").write_text(json.dumps(config))
    return target


def _bare(recipe: Recipe, job: tuple[str, ...], threads: int, output: Path) -> dict[str, float]:
    command = [
        *(sys.executable, "-m", "benchmarks.compression.bare", *job),
        *("--recipe", json.dumps(recipe.canonical()), "--output", str(output)),
        *("--samples", str(_SAMPLES), "--length", str(_LENGTH), "--threads", str(threads)),
    ]
    environment = os.environ | {"TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        command, env=environment, cwd=_ROOT, check=True, stdout=subprocess.PIPE, stderr=None
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _calibration(seed: int) -> common_pb2.Calibration:
    return common_pb2.Calibration(samples=_SAMPLES, sequence_length=_LENGTH, seed=seed)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
