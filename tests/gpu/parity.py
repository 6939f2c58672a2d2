"""Every method on the GPU against the same on the CPU, and against itself."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from families import write_family
from safetensors.torch import load_file
from tests.gpu.jobs import make
from tiny_llama import write_calibration

from assay_core.digest import sha256_file

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "models" / "demo" / "model"
DEMO_TEXT = ROOT / "packs" / "demo" / "data" / "calibration.jsonl"

# What rounding may change, by method: the share of other codes or other zeros, over the model, and
# the difference of the layers' output error, relative. Methods that sum nothing up must give the
# same bytes. A column that rounds the other way moves all that come after it (GPTQ, SparseGPT), and
# every later layer sees other inputs: hence shares, next to errors that must agree. AWQ may take a
# neighbour among its 20 exponents whose error is the same within rounding, which moves many codes.
BOUNDS: dict[str, tuple[float, float]] = {
    "rtn": (0.0, 0.0),
    "magnitude": (0.0, 0.0),
    "wanda": (0.002, 0.005),
    "awq": (0.5, 0.005),
    "sparsegpt": (0.05, 0.005),
    "gptq": (0.15, 0.005),
    "noise": (0.01, 0.005),
}
PRUNING = ("magnitude", "wanda", "sparsegpt")
_PATTERNS = [{"sparsity": 0.5}, {"pattern": "2:4"}, {"pattern": "4:8"}]
_FEW: list[dict[str, Any]] = [
    {"gptq": {"bits": 4}},
    {"awq": {"bits": 4}},
    {"sparsegpt": {"sparsity": 0.5}},
    {"wanda": {"pattern": "2:4"}},
]
_ALL: list[dict[str, Any]] = [
    {"rtn": {"bits": 4}},
    {"rtn": {"bits": 3, "symmetric": False}, "layout": "packed"},
    *({"magnitude": pattern} for pattern in _PATTERNS),
    *({"wanda": pattern} for pattern in _PATTERNS),
    *({"sparsegpt": pattern} for pattern in _PATTERNS),
    {"gptq": {"bits": 8}},
    {"gptq": {"bits": 4}},
    {"gptq": {"bits": 3}},
    {"gptq": {"bits": 4, "act_order": True}},
    {"gptq": {"bits": 4, "symmetric": False}, "layout": "packed"},
    {"gptq": {"bits": 4}, "layout": "packed-gptq"},
    {"gptq": {"bits": 4}, "include_embeddings": True},
    {"awq": {"bits": 4}},
    {"awq": {"bits": 3}, "layout": "packed"},
    {"noise": {"match_bits": 4}},
]


@dataclass(frozen=True)
class Subject:
    """A model to compress, and with what."""

    name: str
    model: Path
    text: Path
    samples: int
    length: int
    recipes: list[dict[str, Any]]
    group_size: int


def run(folder: Path, device: str) -> Iterator[str]:
    """Lines of a table.

    Raises:
        SystemExit: If a bound is exceeded; every case has run by then.
    """
    broken: list[str] = []
    yield "| model | recipe | other codes or zeros | output error | CPU s | device s | again |"
    yield "|---|---|---|---|---|---|---|"
    for subject in _subjects(folder):
        for i, recipe in enumerate(subject.recipes):
            if "noise" in recipe and subject.group_size != 128:
                continue  # It has groups of 128 and no others.
            home = folder / f"{subject.name}-{i}"
            line, problems = _case(subject, recipe, home, device)
            yield line
            broken += [f"{subject.name} {json.dumps(recipe)}: {each}" for each in problems]
    if broken:
        raise SystemExit("\n".join(["parity: beyond the bounds", *broken]))


def _subjects(folder: Path) -> Iterator[Subject]:
    yield Subject("demo", DEMO, DEMO_TEXT, 32, 256, _ALL, 128)
    text = write_calibration(folder / "calibration.jsonl", rows=80)
    bfloat, half, single = torch.bfloat16, torch.float16, torch.float32
    for name, dtype, recipes in (
        ("LlamaForCausalLM", single, _ALL),
        ("Qwen3ForCausalLM", bfloat, _FEW),
        ("MistralForCausalLM", half, _FEW),
        ("GPT2LMHeadModel", single, _FEW),
        ("OPTForCausalLM", half, _FEW),
        ("GPTNeoXForCausalLM", bfloat, _FEW),
    ):
        model = write_family(folder / name, name, dtype=dtype)
        short = f"{name.partition('For')[0].removesuffix('LMHeadModel')} {dtype}"
        yield Subject(short.replace("torch.", ""), model, text, 24, 64, recipes, 32)


def _case(
    subject: Subject, recipe: dict[str, Any], home: Path, device: str
) -> tuple[str, list[str]]:
    method = next(iter(recipe))
    parameters = recipe[method]
    if method in ("gptq", "awq", "rtn"):
        parameters = parameters | {"group_size": subject.group_size}
    full = recipe | {method: parameters}
    made, times = [], []
    for i, where in enumerate(("cpu", device, device)):
        began = time.monotonic()
        made.append(
            make(
                home / str(i),
                subject.model,
                full,
                where,
                text=subject.text,
                samples=subject.samples,
                length=subject.length,
            )
        )
        times.append(time.monotonic() - began)
    on_cpu, first, second = made
    share = other_weights(on_cpu, first, method)
    error = relative(output_error(on_cpu), output_error(first))
    allowed, allowed_error = BOUNDS[method] if device != "cpu" else (0.0, 0.0)
    problems = []
    if share > allowed:
        problems.append(f"{share:.2%} of the weights differ from the CPU's, allowed {allowed:.2%}")
    # Not >: an error that is no number must not pass.
    if not error <= allowed_error:
        problems.append(f"output errors differ by {error:.2%}, allowed {allowed_error:.2%}")
    if allowed == 0 and method in ("rtn", "magnitude") and files(on_cpu) != files(first):
        problems.append("the files are not the CPU's")
    if first.name != second.name:
        problems.append("two runs on the device gave different artifacts")
    again = "the same bytes" if first.name == second.name else "DIFFERENT"
    what = ", ".join(f"{key} {value}" for key, value in recipe[method].items())
    more = "".join(f", {key} {value}" for key, value in recipe.items() if key != method)
    return (
        f"| {subject.name} | {method} {what}{more} | {share:.3%} | {error:.3%} "
        f"| {times[0]:.1f} | {times[1]:.1f} | {again} |",
        problems,
    )


def other_weights(left: Path, right: Path, method: str) -> float:
    """Share of the numbers of all changed tensors that are not the same in both artifacts.

    Of a pruned model that is which of them are zero, of a quantized one which stand on another
    point of the grid. Noise is scaled by a sum, and drawn on the CPU.
    """
    modules = json.loads((left / "weights.json").read_text())["modules"]
    mine, theirs = tensors(left), tensors(right)
    if mine.keys() != theirs.keys():
        return 1.0
    names = [name for name in mine if name.rpartition(".")[0] in modules]
    differing = sum(int(_differ(mine[name], theirs[name], method).sum()) for name in names)
    return differing / sum(mine[name].numel() for name in names)


def _differ(mine: torch.Tensor, theirs: torch.Tensor, method: str) -> torch.Tensor:
    if method in PRUNING:
        return (mine == 0) != (theirs == 0)
    if method == "noise":
        # One step of its type is allowed to each weight, and not more.
        return ~torch.isclose(mine, theirs, rtol=torch.finfo(mine.dtype).eps, atol=1e-6)
    if mine.dtype == torch.float32:
        # AWQ divides the channels' scale out of the grid again, which is a power of a sum.
        return ~torch.isclose(mine, theirs, rtol=1e-5, atol=0)
    return mine != theirs


def files(artifact: Path) -> list[str]:
    """Digests of an artifact's tensor files."""
    return [sha256_file(file) for file in sorted(artifact.glob("*.safetensors"))]


def tensors(artifact: Path) -> dict[str, torch.Tensor]:
    """Every tensor of an artifact."""
    return {
        name: tensor
        for file in sorted(artifact.glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def output_error(artifact: Path) -> float:
    """Root mean square of the matrices' output errors; 0 for methods that look at no data."""
    modules = json.loads((artifact / "weights.json").read_text())["modules"].values()
    errors = [each["output_error"] or 0.0 for each in modules]
    return math.sqrt(sum(error * error for error in errors) / len(errors))


def relative(left: float, right: float) -> float:
    """Difference of two errors as a share of the first."""
    return abs(right - left) / left if left else abs(right)
