"""`make bench-scale`: what a model of 1.1 B parameters costs to compress on this machine.

python benchmarks/scale.py --write docs/compression-scale.md

Writes a random sharded bfloat16 Llama of TinyLlama's shape, then compresses it with a small
calibration, by the service's own worker in a process of its own. The bar: peak memory of the
process stays below the model's size and two layers. Weights are random, so nothing is said of
quality.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from assay_compression.checkpoint.inspect import inspect
from assay_compression.jobs.reports import ErrorReport, ProgressReport, ResultReport, parse_report
from assay_compression.jobs.spec import JobSpec
from assay_compression.planning import Planner
from assay_compression.settings import CompressionSettings
from assay_core.errors import from_document
from assay_core.recipes import Calibration, Recipe

_ROOT = Path(__file__).parents[1]
# TinyLlama-1.1B: 1,100,048,384 parameters.
_CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "vocab_size": 32000,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
}
_RECIPES: list[Any] = [{"gptq": {"bits": 4}}, {"wanda": {"pattern": "2:4"}}]
_WORDS = 1000
_MIB = 1 << 20
_MODEL, _TEXT = "model", "calibration.txt"

_HEAD = """\
# Compression at scale

Written by `make bench-scale`. A random Llama of TinyLlama's shape ({parameters:,} parameters,
{layers} layers, bfloat16, {shards} shards, {size:,} MiB), compressed by the service's worker on
{cpus} cores of a shared machine without GPU; calibration {samples} sequences of {length} tokens.
Model and two layers in float32, as they are computed with: {bar:,} MiB. Seconds per layer
are those of compressing and of running the calibration through; the copy comes before and the
digests after.

| recipe | job s | s per layer | copy and load s | publish s | peak memory MiB | of the bar |
|---|---|---|---|---|---|---|
"""


def main() -> None:
    """Runs the benchmark and prints, or writes, its document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--layers", type=int, default=_CONFIG["num_hidden_layers"])
    parser.add_argument("--scratch", type=Path, help="folder with 10 GB of room")
    parser.add_argument("--write", type=Path, help="file to write; standard output without it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        document = _run(Path(scratch), arguments)
    if arguments.write is None:
        print(document)
    else:
        arguments.write.write_text(document, encoding="utf-8")


def _run(scratch: Path, arguments: argparse.Namespace) -> str:
    model = _write_model(scratch / _MODEL, arguments.layers)
    text = scratch / _TEXT
    generator = random.Random(0)  # noqa: S311 - reproducible text, not a secret
    text.write_text(" ".join(f"w{generator.randrange(_WORDS)}" for _ in range(20_000)))
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
        shards=len(checkpoint.weight_files),
        size=size // _MIB,
        cpus=len(os.sched_getaffinity(0)),
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


def _write_model(folder: Path, layers: int) -> Path:
    """Writes the checkpoint shard by shard: two layers in each."""
    folder.mkdir()
    config = _CONFIG | {"num_hidden_layers": layers}
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    keys = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    generator = torch.Generator().manual_seed(0)

    def matrix(rows: int, columns: int) -> torch.Tensor:
        return (torch.randn(rows, columns, generator=generator) * columns**-0.5).bfloat16()

    def norm() -> torch.Tensor:
        return torch.ones(hidden, dtype=torch.bfloat16)

    shapes = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    weight_map: dict[str, str] = {}
    total = (layers + 1) // 2 + 1
    for shard in range(total):
        tensors: dict[str, torch.Tensor] = {}
        if shard == total - 1:
            vocabulary = config["vocab_size"]
            tensors["model.embed_tokens.weight"] = matrix(vocabulary, hidden)
            tensors["lm_head.weight"] = matrix(vocabulary, hidden)
            tensors["model.norm.weight"] = norm()
        for layer in range(2 * shard, min(2 * shard + 2, layers)):
            start = f"model.layers.{layer}."
            tensors |= {f"{start}{name}.weight": matrix(*shape) for name, shape in shapes.items()}
            tensors |= {
                f"{start}{name}.weight": norm()
                for name in ("input_layernorm", "post_attention_layernorm")
            }
        file = f"model-{shard + 1:05d}-of-{total:05d}.safetensors"
        save_file(tensors, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(tensors, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(config))
    words = {f"w{i}": i for i in range(_WORDS)} | {"[UNK]": _WORDS}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))  # noqa: S106 - a word, no secret
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


if __name__ == "__main__":
    main()
