"""What ListRecipes says: every method of the contract with its parameters."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Parameter:
    """One parameter of a method, for people."""

    name: str
    type: str
    allowed: str
    default: str
    summary: str


@dataclass(frozen=True)
class MethodText:
    """What a method does and where it comes from."""

    summary: str
    reference: str
    parameters: tuple[Parameter, ...] = ()


def _bits(allowed: str) -> Parameter:
    return Parameter("bits", "int", allowed, "", "Bits per weight; must be given.")


_GROUP = Parameter(
    "group_size",
    "int",
    "16, 32, 64, 128, 256",
    "128",
    "Input columns that share one scale; must divide the input size of every matrix.",
)
_SYMMETRIC = Parameter("symmetric", "bool", "true, false", "true", "No zero point.")
_DAMPING = Parameter(
    "damping",
    "float",
    "0 < x <= 1",
    "0.01",
    "Added to the Hessian's diagonal, as a share of its mean. A Hessian that is singular all the "
    "same makes GPTQ round to nearest, which the module's record says, and SparseGPT prune by "
    "size.",
)
_SPARSITY = Parameter(
    "sparsity", "float", "0 < x < 1", "0.5", "Share of zeros; 0.5 for 2:4 and 4:8."
)
_PATTERN = Parameter(
    "pattern", "enum", "unstructured, 2:4, 4:8", "unstructured", "Where zeros may stand."
)

METHOD_TEXTS: dict[str, MethodText] = {
    "dense": MethodText(
        "The weights as they are: a verified copy of the checkpoint, pinned by digest.", ""
    ),
    "gptq": MethodText(
        "Quantizes weights column by column and moves each error to the columns after it.",
        "Frantar et al., 2022",
        (
            _bits("2, 3, 4, 8"),
            _GROUP,
            Parameter(
                "act_order",
                "bool",
                "true, false",
                "false",
                "Columns with large inputs first; groups stay where they are.",
            ),
            _DAMPING,
            _SYMMETRIC,
        ),
    ),
    "awq": MethodText(
        "Scales salient input channels before rounding to nearest.",
        "Lin et al., 2023",
        (_bits("3, 4, 8"), _GROUP),
    ),
    "rtn": MethodText(
        "Rounds every weight to the nearest point of its group's grid: the plain baseline.",
        "",
        (_bits("2, 3, 4, 8"), _GROUP, _SYMMETRIC),
    ),
    "magnitude": MethodText(
        "Sets the smallest absolute weights of each matrix, or of each block, to zero.",
        "Han et al., 2015",
        (_SPARSITY, _PATTERN),
    ),
    "sparsegpt": MethodText(
        "Prunes weights column by column and moves each error to the columns after it.",
        "Frantar and Alistarh, 2023",
        (_SPARSITY, _PATTERN, _DAMPING),
    ),
    "wanda": MethodText(
        "Sets the weights with the smallest product of size and input norm to zero, row by row.",
        "Sun et al., 2023",
        (_SPARSITY, _PATTERN),
    ),
    "imported": MethodText(
        "A checkpoint that was compressed elsewhere, registered as a variant of its parent.",
        "",
        (
            Parameter("digest", "string", "sha256:<hex>", "", "Content digest of the checkpoint."),
            Parameter("method", "string", "as in config.json", "", "Method that made it."),
            Parameter("bits", "int", "0 .. 8", "0", "Bits per weight; 0: dense."),
            Parameter("group_size", "int", ">= 0", "0", "Inputs per scale; 0: one per row."),
            Parameter("act_order", "bool", "true, false", "false", "Columns were reordered."),
            _SYMMETRIC,
        ),
    ),
    "noise": MethodText(
        "Control: Gaussian noise of the size of GPTQ's error, matrix by matrix.",
        "",
        (
            Parameter(
                "match_bits", "int", "3, 4, 8", "4", "Bits of the GPTQ run, in groups of 128."
            ),
        ),
    ),
}
