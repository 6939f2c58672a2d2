"""Seconds per layer, where they go, and memory, on a random model of Llama-2-7B's shape."""

from __future__ import annotations

import argparse
import functools
import importlib
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from benchmarks.compression.random_llama import write_random_llama, write_text
from tests.gpu.jobs import make

from assay_compression.methods.inputs import InputStatistics
from assay_compression.methods.registry import BACKENDS
from assay_compression.worker import compress, job
from assay_compression.worker.activations import Activations
from assay_compression.worker.working_copy import WorkingCopy

# Llama-2-7B, as changes to `write_random_llama`'s model.
SIZES = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
}
RECIPES: list[dict[str, Any]] = [
    {"gptq": {"bits": 4}},
    {"awq": {"bits": 4}},
    {"wanda": {"pattern": "2:4"}},
    {"sparsegpt": {"sparsity": 0.5}},
    {"magnitude": {"sparsity": 0.5}},
]
PHASES = ("read", "forward", "moments", "solve", "statistics", "write")
_WORDS = 20_000
_GIB = 1 << 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Size of the model and of the calibration."""
    parser.add_argument("--layers", type=int, default=4, help="of speed's model (Llama-2-7B: 32)")
    parser.add_argument("--hidden", type=int, default=SIZES["hidden_size"])
    parser.add_argument("--inner", type=int, default=SIZES["intermediate_size"])
    parser.add_argument("--samples", type=int, default=128, help="sequences of speed's calibration")
    parser.add_argument("--length", type=int, default=2048, help="tokens of each")
    parser.add_argument("--methods", nargs="*", help="of speed: gptq, awq, ...; all without any")


def run(folder: Path, arguments: argparse.Namespace) -> Iterator[str]:
    """Lines of a table."""
    sizes = {
        "hidden_size": arguments.hidden,
        "intermediate_size": arguments.inner,
        "num_hidden_layers": arguments.layers,
    }
    device = arguments.device
    yield _ceilings(device)
    model, text = folder / "model", folder / "calibration.txt"
    began = time.monotonic()
    write_random_llama(model, words=_WORDS, device=device, **SIZES | sizes)
    yield f"speed: a model of {arguments.layers} layers written in {time.monotonic() - began:.0f} s"
    write_text(text, 600_000, words=_WORDS)
    yield (
        "| recipe | job s | check s | copy s | publish s | s per layer |"
        + "".join(f" {phase} |" for phase in PHASES)
        + " tokens/s | peak GPU GiB |"
    )
    yield "|---" * (8 + len(PHASES)) + "|"
    for recipe in RECIPES:
        if not arguments.methods or next(iter(recipe)) in arguments.methods:
            yield _row(folder / "home", model, text, recipe, arguments)


def _row(
    home: Path, model: Path, text: Path, recipe: dict[str, Any], arguments: argparse.Namespace
) -> str:
    watch = Stopwatch(arguments.device)
    if arguments.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    began = time.monotonic()
    with watch.watching(recipe):
        make(
            home,
            model,
            recipe,
            arguments.device,
            text=text,
            samples=arguments.samples,
            length=arguments.length,
        )
    total = time.monotonic() - began
    shutil.rmtree(home)
    layers, spent = arguments.layers, watch.seconds
    per_layer = sum(spent[phase] for phase in PHASES) / layers
    tokens = arguments.samples * arguments.length
    run_through = spent["forward"] + spent["moments"]
    peak = torch.cuda.max_memory_allocated() / _GIB if arguments.device == "cuda" else 0.0
    method, parameters = next(iter(recipe.items()))
    what = ", ".join(f"{key} {value}" for key, value in parameters.items())
    rest = total - spent["copy"] - spent["publish"] - per_layer * layers
    return (
        f"| {method} {what} | {total:.1f} | {rest:.1f} | {spent['copy']:.1f} "
        f"| {spent['publish']:.1f} | {per_layer:.2f} |"
        + "".join(f" {spent[phase] / layers:.2f} |" for phase in PHASES)
        + (f" {tokens * layers / run_through:,.0f} |" if run_through else " - |")
        + f" {peak:.1f} |"
    )


class Stopwatch:
    """Seconds by phase, each without the phases within it; waits for the device at both ends."""

    def __init__(self, device: str) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._wait: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else _nothing
        self._running: list[str] = []
        self._since = 0.0

    def watching(self, recipe: dict[str, Any]) -> ExitStack:
        """Times the parts of a job of this recipe, until the stack is closed."""
        method = importlib.import_module(BACKENDS[next(iter(recipe))].module)
        parts: list[tuple[Any, str, str]] = [
            (job, "copy_checkpoint", "copy"),
            (job, "publish", "publish"),
            (Activations, "__init__", "forward"),
            (Activations, "observe", "forward"),
            (Activations, "advance", "forward"),
            (Activations, "_read", "read"),
            (InputStatistics, "add", "moments"),
            (compress, "describe_change", "statistics"),
            (compress._Driver, "_original", "read"),
            *((WorkingCopy, name, "write") for name in ("write", "commit", "finished")),
            (WorkingCopy, "current", "read"),
        ]
        stack = ExitStack()
        for owner, name, phase in parts:
            timed = self._timed(getattr(owner, name), phase)
            stack.enter_context(mock.patch.object(owner, name, timed))
        build = method.routine
        solving = mock.patch.object(
            method, "routine", lambda *given: self._timed(build(*given), "solve")
        )
        stack.enter_context(solving)
        return stack

    def _timed(self, work: Callable[..., Any], phase: str) -> Callable[..., Any]:
        @functools.wraps(work)
        def run(*args: Any, **kwargs: Any) -> Any:
            self._turn()
            self._running.append(phase)
            try:
                return work(*args, **kwargs)
            finally:
                self._turn()
                self._running.pop()

        return run

    def _turn(self) -> None:
        """Books the time since the last turn to the phase that ran."""
        self._wait()
        now = time.monotonic()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now


def _nothing() -> None:
    """A CPU has done what it was told."""


def _ceilings(device: str) -> str:
    """What the device's matrix products reach, in float32 and in TF32, and its memory."""
    size = 8192 if device == "cuda" else 512
    left, right = (torch.randn(size, size, device=device) for _ in range(2))
    matmul = torch.backends.cuda.matmul
    rates = []
    for precision in ("ieee", "tf32"):
        matmul.fp32_precision = precision
        rates.append(2 * size**3 / _seconds(lambda: left @ right, device) / 1e12)
    matmul.fp32_precision = "none"
    moved = 2 * left.numel() * 4 / _seconds(left.clone, device) / 1e12
    return (
        f"speed: products of {size} x {size} at {rates[0]:.1f} TFLOP/s in float32 and "
        f"{rates[1]:.1f} in TF32; a copy moves {moved:.2f} TB/s"
    )


def _seconds(work: Callable[[], object], device: str) -> float:
    """Median of ten runs, after two."""
    wait = torch.cuda.synchronize if device == "cuda" else _nothing
    times = []
    for _ in range(12):
        wait()
        began = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - began)
    return sorted(times[2:])[5]
