"""`make bench-departures`: why methods of the demo model depart from the literature's order.

python -m benchmarks.compression.departures --write docs/compression-departures.md

Perplexity asks whether a variant predicts a text; what a method minimises is how far its layers'
outputs are from the dense ones. Both are measured here, on the calibration text and on held-out
pages, for variants calibrated with the demo text and with pages of the held-out kind.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from benchmarks.compression.options import parser, publish
from benchmarks.compression.perplexity import Losses, losses, read_documents
from benchmarks.compression.service import make, running, wait_until_ready
from torch import Tensor
from transformers import AutoModelForCausalLM

from assay_compression.checkpoint.inspect import Checkpoint, inspect
from assay_compression.jobs.spec import CalibrationSpec
from assay_compression.methods.inputs import InputStatistics
from assay_compression.worker.activations import Activations
from assay_compression.worker.sequences import draw_sequences
from assay_compression.worker.tensors import read_tensor
from assay_core.digest import sha256_file
from assay_core.pb import common_pb2
from assay_core.recipes import Recipe

_QUANTIZED: list[Any] = [
    {method: {"bits": bits} | options}
    for bits in (4, 3)
    for method, options in (("rtn", {}), ("gptq", {}), ("gptq", {"act_order": True}), ("awq", {}))
]
_PRUNED: list[Any] = [{method: {}} for method in ("magnitude", "wanda", "sparsegpt")]
_CALIBRATION_DOCUMENTS = 60

_HEAD = """\
# Why the demo model departs from the literature's order

Written by `make bench-departures`; what follows from it is in [compression.md](compression.md).
Every recipe was made by the service, dense layout, seed 0, with three calibrations: the demo text
in 128 sequences of 512 tokens (the default), the demo text in 1,024 sequences of 48 tokens (the
length of a page), and 30 of the 60 held-out pages in 256 sequences of 48. Everything is measured
in float32 on the other 30 pages ({tokens:,} predicted tokens) and on {documents} documents of the
demo text.

Excess: nats per token more than the dense model. KL: nats per token from the dense model's
predictions to the variant's. Both with their standard error over documents. Output error: of all
matrices' outputs together, ||(W' - W) X|| / ||W X||, X being the dense model's inputs.

| recipe | calibration | excess, pages | KL, pages | KL, demo text | output error, pages | output error, demo text |
|---|---|---|---|---|---|---|
"""  # noqa: E501 - a table's head is one line


@dataclass(frozen=True)
class _Text:
    """A text that variants are measured on: its documents, and the dense model's view of it."""

    documents: list[Tensor]
    dense: Losses
    predictions: list[Tensor]
    inputs: dict[str, InputStatistics]


def main() -> None:
    """Runs the benchmark and prints, or writes, its document."""
    arguments = parser(__doc__).parse_args()
    with torch.inference_mode():
        document = asyncio.run(_run(arguments))
    publish(document, arguments.write)


async def _run(arguments: argparse.Namespace) -> str:
    model, demo = arguments.model, arguments.pack / "calibration.jsonl"
    rows = (arguments.pack / "utility" / "perplexity.jsonl").read_text("utf-8").splitlines()
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        halves = [home / "first.jsonl", home / "second.jsonl"]
        middle = len(rows) // 2
        for half, part in zip(halves, (rows[:middle], rows[middle:]), strict=True):
            half.write_text("\n".join(part) + "\n", encoding="utf-8")
        pages = _text(model, halves[1], samples=256, length=48)
        trained = _text(model, demo, samples=128, length=512)
        sources = {
            "demo, 512": common_pb2.Calibration(samples=128, sequence_length=512),
            "demo, 48": common_pb2.Calibration(samples=1024, sequence_length=48),
            "pages, 48": common_pb2.Calibration(
                samples=256, sequence_length=48, source=str(halves[0])
            ),
        }
        lines = []
        with running(home, demo, arguments.threads) as address:
            await wait_until_ready(address)
            for recipe in map(Recipe.parse, [*_QUANTIZED, *_PRUNED]):
                for name, calibration in sources.items():
                    if not recipe.needs_calibration and name != "demo, 512":
                        continue
                    made = await make(address, model, recipe, calibration)
                    used = name if recipe.needs_calibration else ""
                    measured = _measured(model, made.folder, pages, trained)
                    lines.append(f"| {recipe.label()} | {used} | {measured} |")
                    print(lines[-1], flush=True)
    head = _HEAD.format(tokens=sum(pages.dense.tokens), documents=len(trained.documents))
    return head + "\n".join(lines) + "\n"


def _text(model: Path, file: Path, *, samples: int, length: int) -> _Text:
    documents = read_documents(file, model / "tokenizer.json")[:_CALIBRATION_DOCUMENTS]
    spec = CalibrationSpec(
        digest=sha256_file(file), samples=samples, sequence_length=length, seed=1
    )
    inputs = _inputs(inspect(model), draw_sequences(model, file, spec))
    return _Text(documents, losses(model, documents), list(_predictions(model, documents)), inputs)


def _inputs(checkpoint: Checkpoint, sequences: Tensor) -> dict[str, InputStatistics]:
    activations = Activations(checkpoint, sequences, torch.device("cpu"))
    seen: dict[str, InputStatistics] = {}
    for layer in range(checkpoint.layers):
        seen |= activations.observe(layer)
        activations.advance(layer, {})
    return seen


def _predictions(checkpoint: Path, documents: list[Tensor]) -> Iterator[Tensor]:
    """Log-probabilities `[tokens - 1, vocabulary]` of each document."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    for ids in documents:
        yield model(ids.unsqueeze(0)).logits[0, :-1].log_softmax(-1)


def _measured(model: Path, made: Path, pages: _Text, trained: _Text) -> str:
    excess = losses(made, pages.documents).excess(pages.dense)
    far = [_divergence(made, text) for text in (pages, trained)]
    errors = [_output_error(model, made, text.inputs) for text in (pages, trained)]
    return (
        f"{excess[0]:+.4f} ± {excess[1]:.4f} "
        f"| {far[0][0]:.4f} ± {far[0][1]:.4f} | {far[1][0]:.4f} ± {far[1][1]:.4f} "
        f"| {errors[0]:.4f} | {errors[1]:.4f}"
    )


def _divergence(made: Path, text: _Text) -> tuple[float, float]:
    """KL from the dense model's predictions, nats per token, and its standard error."""
    pairs = zip(text.predictions, _predictions(made, text.documents), strict=True)
    sums = [float((dense.exp() * (dense - mine)).sum()) for dense, mine in pairs]
    nothing = Losses([0.0] * len(sums), text.dense.tokens)
    return Losses(sums, text.dense.tokens).excess(nothing)


def _output_error(model: Path, made: Path, inputs: dict[str, InputStatistics]) -> float:
    before, after = inspect(model), inspect(made)
    lost = kept = 0.0
    for module, seen in inputs.items():
        weight = read_tensor(model, before.matrix(module)).float()
        change = read_tensor(made, after.matrix(module)).float() - weight
        lost += seen.squared_error(change)
        kept += seen.squared_error(weight)
    return math.sqrt(lost / kept)


if __name__ == "__main__":
    main()
