"""`make bench-scale`: what a model of 1.1 B parameters costs to compress on this machine.

python -m benchmarks.scale --write docs/compression-scale.md

Writes a random sharded bfloat16 Llama of TinyLlama's shape, then compresses it with a small
calibration, by the service's own worker in a process of its own. The bar: peak memory of the
process stays below the model's size and two layers. Weights are random, so nothing is said of
quality.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.compression.random_llama import TINY_LLAMA, write_random_llama, write_text

from assay_compression.checkpoint.inspect import inspect
from assay_compression.jobs.reports import ErrorReport, ProgressReport, ResultReport, parse_report
from assay_compression.jobs.spec import JobSpec
from assay_compression.planning import Planner
from assay_compression.settings import CompressionSettings
from assay_core.errors import from_document
from assay_core.recipes import Calibration, Recipe

_ROOT = Path(__file__).parents[1]
_RECIPES: list[Any] = [{"gptq": {"bits": 4}}, {"wanda": {"pattern": "2:4"}}]
_MIB = 1 << 20
_MODEL, _TEXT = "model", "calibration.txt"

_HEAD = """\
# Compression at scale

Written by `make bench-scale`. A random Llama of TinyLlama's shape, {layers} of its {all} layers
({parameters:,} parameters, bfloat16, {shards} shards, {size:,} MiB), compressed by the service's
worker on {cpus} cores without GPU that others used too (load average {load:.0f} at the end);
calibration {samples} sequences of {length} tokens. Model and two layers in float32, as they are
computed with: {bar:,} MiB. Seconds per layer are those of compressing and of running the
calibration through; the copy comes before and the digests after.

| recipe | job s | s per layer | copy and load s | publish s | peak memory MiB | of the bar |
|---|---|---|---|---|---|---|
"""


def main() -> None:
    """Runs the benchmark and prints, or writes, its document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--layers", type=int, default=TINY_LLAMA["num_hidden_layers"])
    parser.add_argument("--scratch", type=Path, help="folder with 10 GB of room")
    parser.add_argument("--keep", type=Path, help="folder to move the variants to, one each")
    parser.add_argument("--write", type=Path, help="file to write; standard output without it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        document = _run(Path(scratch), arguments)
    if arguments.write is None:
        print(document)
    else:
        arguments.write.write_text(document, encoding="utf-8")


def _run(scratch: Path, arguments: argparse.Namespace) -> str:
    model = write_random_llama(scratch / _MODEL, num_hidden_layers=arguments.layers)
    write_text(scratch / _TEXT)
    checkpoint = inspect(model)
    size = sum((model / name).stat().st_size for name in checkpoint.weight_files)
    layer = 4 * sum(checkpoint.matrix(name).elements for name in checkpoint.linear_names(0))
    bar = size + 2 * layer
    lines = []
    for recipe in map(Recipe.parse, _RECIPES):
        lines.append(_row(scratch, recipe, arguments, bar))
        print(lines[-1], flush=True)
    head = _HEAD.format(
        parameters=checkpoint.parameters,
        layers=checkpoint.layers,
        all=TINY_LLAMA["num_hidden_layers"],
        shards=len(checkpoint.weight_files),
        size=size // _MIB,
        cpus=len(os.sched_getaffinity(0)),
        load=os.getloadavg()[0],
        samples=arguments.samples,
        length=arguments.length,
        bar=bar // _MIB,
    )
    return head + "\n".join(lines) + "\n"


def _row(scratch: Path, recipe: Recipe, arguments: argparse.Namespace, bar: int) -> str:
    model, text, home = scratch / _MODEL, scratch / _TEXT, scratch / "home"
    settings = CompressionSettings(home=home, calibrations={"demo": str(text)})
    calibration = Calibration(samples=arguments.samples, sequence_length=arguments.length)
    plan = Planner(settings).plan(str(model), "", recipe, calibration)
    spec = JobSpec(
        **plan.model_dump(exclude={"disk_bytes"}),
        recipe=recipe.canonical(),
        data_uri=settings.data_uri,
        work_dir=settings.work_root / "job",
        threads=settings.threads,
    )
    starts, ended, artifact = _work(spec, scratch / "job.json")
    run = json.loads(next(home.rglob(f"{artifact.removeprefix('sha256:')}/run.json")).read_text())
    layers = [at for phase, at in starts if phase.startswith("compressing layer")]
    published = next(at for phase, at in starts if phase == "publishing")
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        made = next(home.rglob(f"{artifact.removeprefix('sha256:')}/run.json")).parent
        shutil.move(made, arguments.keep / recipe.name)
    shutil.rmtree(home)
    peak = run["peak_memory_bytes"]
    return (
        f"| {recipe.label()} | {ended - starts[0][1]:.0f} "
        f"| {(published - layers[0]) / len(layers):.1f} | {layers[0] - starts[0][1]:.0f} "
        f"| {ended - published:.0f} | {peak // _MIB:,} | {peak / bar:.0%} |"
    )


def _work(spec: JobSpec, file: Path) -> tuple[list[tuple[str, float]], float, str]:
    """When each phase began, when the job ended, and the artifact's digest."""
    file.write_text(spec.model_dump_json())
    starts: list[tuple[str, float]] = []
    command = [sys.executable, "-m", "assay_compression.worker", "--job", str(file)]
    environment = os.environ | {"TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": str(spec.threads)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        for line in process.stdout or ():
            if not line.startswith(b"{"):
                continue  # A library's own words.
            match parse_report(line):
                case ProgressReport() as report:
                    starts.append((report.phase, time.monotonic()))
                case ResultReport() as report:
                    return starts, time.monotonic(), report.artifact
                case ErrorReport() as report:
                    raise from_document(report.error)
    raise RuntimeError("the worker ended without a report")


if __name__ == "__main__":
    main()
