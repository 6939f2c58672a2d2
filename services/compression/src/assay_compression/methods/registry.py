"""The methods: who runs each, what it needs, what it costs. A new method is a row here.

Nothing of torch is imported here, so that the service can read the facts; a method's routine lives
in the module that its row names.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

from assay_compression.efficiency import pruned_bits, quantized_bits
from assay_core import recipes
from assay_core.errors import FailedPrecondition, Unimplemented

BLOCKS: dict[str, tuple[int, int]] = {"2:4": (2, 4), "4:8": (4, 8)}
OURS = ("assay-compression", "torch")
LIBRARY = ("assay-compression", "torch", "transformers", "compressed-tensors", "llmcompressor")
FORWARD = ("assay-compression", "torch", "transformers")
NOISE_GROUP_SIZE = 128


@dataclass(frozen=True)
class Backend:
    """Who runs a method, and what a restart repeats.

    Attributes:
        name: Distribution whose routine does the work.
        module: Module with `routine(method, context)`; empty if no matrix changes.
        tools: Distributions whose version is part of the artifact's identity.
        unavailable: Why this server cannot run it; empty if it can.
        resume: What a restart after a crash repeats.
    """

    name: str
    module: str
    tools: tuple[str, ...]
    unavailable: str = ""
    resume: str = "resumes at the layer"


BACKENDS: dict[str, Backend] = {
    "dense": Backend("assay-compression", "", (), resume="restarts from zero"),
    "gptq": Backend("llmcompressor", "assay_compression.methods.gptq", LIBRARY),
    "awq": Backend(
        "llmcompressor",
        "",
        LIBRARY,
        unavailable="AWQ's activation cache needs an accelerator in llm-compressor 0.14, and a "
        "layer-wise form of it is not built yet; use gptq or rtn",
    ),
    "rtn": Backend("assay-compression", "assay_compression.methods.rtn", OURS),
    "magnitude": Backend("assay-compression", "assay_compression.methods.magnitude", OURS),
    "sparsegpt": Backend("llmcompressor", "assay_compression.methods.sparsegpt", LIBRARY),
    "wanda": Backend("assay-compression", "assay_compression.methods.wanda", FORWARD),
    "noise": Backend("llmcompressor", "assay_compression.methods.noise", LIBRARY),
}


def backend_version(method: str) -> str:
    """Backend of a method and its version: `llmcompressor 0.14.0.1`."""
    name = BACKENDS[method].name
    return f"{name} {metadata.version(name)}"


def check_supported(recipe: recipes.Recipe) -> None:
    """Refuses what the contract has and this server does not.

    Raises:
        Unimplemented: Names the field and says why.
    """
    if unavailable := BACKENDS[recipe.name].unavailable:
        raise Unimplemented.of(f"recipe.{recipe.name}", "is not available", remedy=unavailable)
    if recipe.layout != "dense":
        raise Unimplemented.of(
            "recipe.layout",
            "is packed, and this server writes the dense layout only",
            remedy="leave recipe.layout out; every engine serves the dense layout",
        )
    if recipe.include_embeddings:
        raise Unimplemented.of(
            "recipe.include_embeddings",
            "is true, and this server compresses transformer layers only",
            remedy="leave recipe.include_embeddings out",
        )


def check_shape(recipe: recipes.Recipe, module: str, columns: int) -> None:
    """Refuses a matrix that the recipe's groups or blocks do not divide.

    Raises:
        FailedPrecondition: Names the field, the module and sizes that would do.
    """
    method = recipe.method
    match method:
        case recipes.Gptq() | recipes.Rtn():
            field, size = "group_size", int(method.group_size)
        case recipes.Magnitude() | recipes.SparseGpt() | recipes.Wanda() if (
            method.pattern in BLOCKS
        ):
            field, size = "pattern", BLOCKS[method.pattern][1]
        case recipes.Noise():
            field, size = "match_bits", NOISE_GROUP_SIZE
        case _:
            return
    if columns % size == 0:
        return
    fitting = [str(n) for n in (16, 32, 64, 128, 256) if columns % n == 0]
    remedy = f"use {' or '.join(fitting)}" if field == "group_size" and fitting else None
    raise FailedPrecondition.of(
        f"recipe.{recipe.name}.{field}",
        f"needs inputs in blocks of {size}, which do not divide the {columns} inputs of {module}",
        reason="GROUP_SIZE_DOES_NOT_DIVIDE",
        remedy=remedy or "use another recipe for this model",
        metadata={"module": module, "inputs": str(columns)},
    )


def bits_per_weight(recipe: recipes.Recipe, dense_bits: float) -> float:
    """Bits that a compressed weight takes in packed form."""
    method = recipe.method
    match method:
        case recipes.Gptq() | recipes.Rtn():
            return quantized_bits(method.bits, method.group_size, symmetric=method.symmetric)
        case recipes.Awq():
            return quantized_bits(method.bits, method.group_size, symmetric=False)
        case recipes.Magnitude() | recipes.SparseGpt() | recipes.Wanda():
            return pruned_bits(dense_bits, method.sparsity)
        case _:
            return dense_bits
