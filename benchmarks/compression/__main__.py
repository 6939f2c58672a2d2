"""Every method and level on the demo model: perplexity, size, time; then the service's overhead.

python -m benchmarks.compression --write docs/compression-results.md
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.compression.document import Row, render
from benchmarks.compression.options import parser, publish
from benchmarks.compression.overhead import Overhead
from benchmarks.compression.perplexity import losses, read_documents
from benchmarks.compression.service import make, running, wait_until_ready

from assay_core.pb import common_pb2
from assay_core.recipes import Recipe

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
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=3, help="seeds, and repetitions of timings")
    arguments = options.parse_args()
    document = asyncio.run(_run(arguments))
    publish(document, arguments.write)


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
            overhead = Overhead(home, calibration, arguments.threads, _calibration)
            lines = await overhead.table(address, arguments.model, COMPARED, arguments.runs)
    return render(rows, lines, calibration=_calibration(0), runs=arguments.runs)


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


def _calibration(seed: int) -> common_pb2.Calibration:
    return common_pb2.Calibration(samples=_SAMPLES, sequence_length=_LENGTH, seed=seed)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
