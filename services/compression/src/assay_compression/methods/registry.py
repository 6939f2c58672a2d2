"""The methods: who runs each, what it needs, what it costs. A new method is a row here.

Nothing of torch is imported here, so that the service can read the facts; a method's routine lives
in the module that its row names.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

from assay_compression.checkpoint.inspect import Checkpoint
from assay_compression.efficiency import pruned_bits, quantized_bits
from assay_core import recipes
from assay_core.errors import FailedPrecondition, InvalidArgument, Unimplemented
from assay_core.recipes.wire import Layout

BLOCKS: dict[str, tuple[int, int]] = {"2:4": (2, 4), "4:8": (4, 8)}
OURS = ("assay-compression", "torch")
LIBRARY = ("assay-compression", "torch", "transformers", "compressed-tensors", "llmcompressor")
FORWARD = ("assay-compression", "torch", "transformers")
NOISE_GROUP_SIZE = 128
# What compresses an embedding of its own; `lookup.py` has the routines.
LOOKUP_METHODS = ("rtn", "magnitude", "gptq", "awq")
# The scale of a whole row adds next to nothing to each of its weights.
_ONE_SCALE_PER_ROW = 1 << 20
# Both dimensions of a matrix fill whole words for every number of bits.
_GPTQ_MULTIPLE = 32


@dataclass(frozen=True)
class Backend:
    """Who runs a method, and what a restart repeats.

    Attributes:
        name: Distribution whose routine does the work.
        module: Module with `routine(method, context)`; empty if no matrix changes.
        tools: Distributions whose version is part of the artifact's identity.
        unavailable: Why this server cannot run it; empty if it can.
        resume: What a restart after a crash repeats.
        layouts: Layouts that its artifacts can have.
        others: Other backends that know the method, and why each does not run it here.
    """

    name: str
    module: str
    tools: tuple[str, ...]
    unavailable: str = ""
    resume: str = "resumes at the layer"
    layouts: tuple[Layout, ...] = ("dense",)
    others: tuple[tuple[str, str], ...] = ()


_INTEGERS: tuple[Layout, ...] = ("dense", "packed", "packed-gptq")
_AUTO_GPTQ = (
    "auto-gptq",
    "archived; 0.7.1 quantizes on CUDA only and needs transformers below 5, so it runs in an "
    "environment of its own on a CUDA machine (`make autogptq`, `assay-autogptq`) and not in jobs; "
    "layout packed-gptq writes the same format here",
)
_GPTQMODEL = (
    "gptqmodel",
    "does not resolve beside llmcompressor 0.14 and has no resume by layer; its checkpoint format "
    "is written and read here (layout packed-gptq, RegisterVariant), and tested against it",
)
_ONESHOT = (
    "llmcompressor oneshot",
    "no progress, no resume by layer; its tensor routines are what runs here",
)

BACKENDS: dict[str, Backend] = {
    "dense": Backend("assay-compression", "", (), resume="restarts from zero"),
    "gptq": Backend(
        "llmcompressor",
        "assay_compression.methods.gptq",
        LIBRARY,
        layouts=_INTEGERS,
        others=(_ONESHOT, _GPTQMODEL, _AUTO_GPTQ),
    ),
    "awq": Backend(
        "assay-compression",
        "assay_compression.methods.awq",
        FORWARD,
        layouts=("dense", "packed"),
        others=(
            (
                "llmcompressor",
                "its activation cache pins memory, which fails without an accelerator (0.14), and "
                "it restarts from zero",
            ),
            _GPTQMODEL,
        ),
    ),
    "rtn": Backend("assay-compression", "assay_compression.methods.rtn", OURS, layouts=_INTEGERS),
    "magnitude": Backend(
        "assay-compression",
        "assay_compression.methods.magnitude",
        OURS,
        others=(("llmcompressor", "its magnitude modifier changes nothing in oneshot (0.14)"),),
    ),
    "sparsegpt": Backend(
        "assay-compression",
        "assay_compression.methods.sparsegpt",
        FORWARD,
        others=(
            (
                "llmcompressor",
                "its sparsify_weight gives the same weights; on CUDA it takes five times as long",
            ),
            _ONESHOT,
        ),
    ),
    "wanda": Backend(
        "assay-compression", "assay_compression.methods.wanda", FORWARD, others=(_ONESHOT,)
    ),
    "noise": Backend("llmcompressor", "assay_compression.methods.noise", LIBRARY),
    "imported": Backend(
        "assay-compression",
        "",
        (),
        unavailable="a checkpoint that was compressed elsewhere is registered, not made: use "
        "RegisterVariant (`assay variants register`)",
        resume="restarts from zero",
        layouts=_INTEGERS,
    ),
}


def tools_of(recipe: recipes.Recipe) -> tuple[str, ...]:
    """Distributions whose version is part of an artifact's identity."""
    tools = BACKENDS[recipe.name].tools
    packs = recipe.layout != "dense" and "compressed-tensors" not in tools
    return (*tools, "compressed-tensors") if packs else tools


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
    layouts = BACKENDS[recipe.name].layouts
    if recipe.layout not in layouts:
        raise Unimplemented.of(
            "recipe.layout",
            f"is {recipe.layout}, and {recipe.name} is kept in {' or '.join(layouts)}",
            remedy=f"use {layouts[0]}: every engine serves it, and no engine of today has a kernel "
            "for packed zeros",
        )


def check_embeddings(recipe: recipes.Recipe, checkpoint: Checkpoint) -> None:
    """Refuses `include_embeddings` where the method has no meaning, or no layout, for them.

    Raises:
        InvalidArgument: The recipe compresses nothing.
        Unimplemented: Says why.
    """
    field = "recipe.include_embeddings"
    if not recipe.include_embeddings:
        return
    if recipe.name == "dense":
        raise InvalidArgument.of(
            field, "is true, and dense compresses nothing", remedy="leave it out"
        )
    if recipe.layout != "dense":
        raise Unimplemented.of(
            field,
            f"is true, and layout {recipe.layout} packs the matrices of layers only",
            remedy="use the dense layout",
        )
    if recipe.name not in LOOKUP_METHODS and not checkpoint.is_tied:
        raise Unimplemented.of(
            field,
            f"is true, and {recipe.name} weighs an embedding by the inputs of its rows, which are "
            "tokens: those that the calibration text lacks would count for nothing",
            remedy=f"use {' or '.join(LOOKUP_METHODS)}, or leave {field} out",
        )


def check_layout(recipe: recipes.Recipe, checkpoint: Checkpoint) -> None:
    """Refuses a packed layout that the checkpoint's matrices do not fit.

    Raises:
        FailedPrecondition: Names the module.
    """
    if recipe.layout == "dense":
        return
    if checkpoint.architecture.transposed:
        raise FailedPrecondition.of(
            "recipe.layout",
            f"is {recipe.layout}, and no engine reads packed matrices that "
            f"{checkpoint.architecture.name} stores by input ({checkpoint.linears[0]})",
            reason="LAYOUT_DOES_NOT_FIT",
            remedy="use the dense layout",
        )
    for module in checkpoint.linears:
        shape = checkpoint.shape(module)
        if recipe.layout == "packed-gptq" and any(size % _GPTQ_MULTIPLE for size in shape):
            raise FailedPrecondition.of(
                "recipe.layout",
                f"packs {_GPTQ_MULTIPLE} numbers together, which does not divide the sizes "
                f"{list(shape)} of {module}",
                reason="LAYOUT_DOES_NOT_FIT",
                remedy="use layout packed or dense",
                metadata={"module": module},
            )


def check_shape(recipe: recipes.Recipe, module: str, columns: int) -> None:
    """Refuses a matrix that the recipe's groups or blocks do not divide.

    Raises:
        FailedPrecondition: Names the field, the module and sizes that would do.
    """
    method = recipe.method
    match method:
        case recipes.Gptq() | recipes.Rtn() | recipes.Awq():
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
    """Bits that a compressed weight takes in packed form, with scales of the parent's type."""
    method = recipe.method
    match method:
        case recipes.Gptq() | recipes.Rtn():
            group, symmetric = int(method.group_size), method.symmetric
        case recipes.Awq():
            group, symmetric = int(method.group_size), False
        case recipes.Imported() if method.bits:
            group, symmetric = method.group_size or _ONE_SCALE_PER_ROW, method.symmetric
        case recipes.Magnitude() | recipes.SparseGpt() | recipes.Wanda():
            return pruned_bits(dense_bits, method.sparsity)
        case _:
            return dense_bits
    return quantized_bits(method.bits, group, symmetric=symmetric, scale_bits=dense_bits)
