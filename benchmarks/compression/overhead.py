"""Service and library in turn on the same input: seconds, memory, and their ratios."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.compression.options import ROOT
from benchmarks.compression.service import Made, make

from assay_core.pb import common_pb2
from assay_core.recipes import Recipe

HEAD = [
    "| recipe | service s | library s | time | service MiB | library MiB | memory |",
    "|---|---|---|---|---|---|---|",
]


@dataclass(frozen=True)
class Overhead:
    """What both are given.

    Attributes:
        home: Folder for copies of the model and what the library writes.
        text: The calibration text that the service knows as its default.
        threads: Of the tensor operations.
        calibration: The request's calibration, by seed.
    """

    home: Path
    text: Path
    threads: int
    calibration: Callable[[int], common_pb2.Calibration]

    async def table(
        self, address: str, model: Path, recipes: Sequence[Any], runs: int
    ) -> list[str]:
        """Lines of the table: medians of `runs`, taken in turn so that a busy machine slows both.

        Says each line as it comes.
        """
        lines = list(HEAD)
        for recipe in map(Recipe.parse, recipes):
            lines.append(await self._line(address, model, recipe, runs))
            print(lines[-1], file=sys.stderr, flush=True)
        return lines

    async def _line(self, address: str, model: Path, recipe: Recipe, runs: int) -> str:
        mine: list[Made] = []
        theirs: list[dict[str, float]] = []
        for i in range(runs):
            # Seeds that no table uses: nothing comes from a cache. Methods without data would be a
            # cache hit, so each run compresses a copy of its own.
            drawn = self.calibration(100 + i)
            copy = _copy(model, self.home / f"{recipe.name}-{i}")
            mine.append(await make(address, copy, recipe, drawn))
            theirs.append(self._bare(copy, recipe, drawn))
        seconds = median(m.seconds for m in mine), median(t["seconds"] for t in theirs)
        peaks = (
            median(m.artifact.run.peak_memory_bytes for m in mine),
            median(t["peak_memory_bytes"] for t in theirs),
        )
        return (
            f"| {recipe.label()} | {seconds[0]:.2f} | {seconds[1]:.2f} "
            f"| {seconds[0] / seconds[1]:.2f}x | {peaks[0] / 2**20:.0f} | {peaks[1] / 2**20:.0f} "
            f"| {peaks[0] / peaks[1]:.2f}x |"
        )

    def _bare(self, model: Path, recipe: Recipe, drawn: common_pb2.Calibration) -> dict[str, float]:
        command = [
            *(sys.executable, "-m", "benchmarks.compression.bare", "--model", str(model)),
            *("--calibration", str(self.text), "--seed", str(drawn.seed)),
            *("--recipe", json.dumps(recipe.canonical()), "--output", str(self.home / "bare")),
            *("--samples", str(drawn.samples), "--length", str(drawn.sequence_length)),
            *("--threads", str(self.threads)),
        ]
        environment = os.environ | {
            "TORCHDYNAMO_DISABLE": "1",
            "OMP_NUM_THREADS": str(self.threads),
        }
        done = subprocess.run(
            command, env=environment, cwd=ROOT, check=True, stdout=subprocess.PIPE, stderr=None
        )
        result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return result


def _copy(model: Path, target: Path) -> Path:
    """The model with a configuration of its own, hence a digest of its own."""
    target.mkdir()
    for file in model.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    config = json.loads((target / "config.json").read_text())
    config["benchmark_copy"] = target.name
    (target / "config.json").write_text(json.dumps(config))
    return target
