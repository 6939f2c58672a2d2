"""The compression methods and their parameters, every default written out."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

GroupSize = Literal[16, 32, 64, 128, 256]
Share = Annotated[float, Field(gt=0, lt=1)]
Damping = Annotated[float, Field(gt=0, le=1)]
Pattern = Literal["unstructured", "2:4", "4:8"]


class Value(BaseModel):
    """A frozen value that refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Method(Value):
    """Base of the methods' parameters.

    Attributes:
        name: The method's key in YAML and in `assay.common.v1.Recipe`.
        needs_calibration: Whether the result depends on calibration data or its seed.
        prunes: Whether it sets weights to zero on purpose; rounding to a grid makes zeros too.
    """

    name: ClassVar[str]
    needs_calibration: ClassVar[bool] = False
    prunes: ClassVar[bool] = False

    def label_parts(self) -> list[str]:
        """What stands after the name in a label; distinct for distinct parameters."""
        return []


class Dense(Method):
    """The identity recipe: the weights as they are."""

    name = "dense"


class Gptq(Method):
    """GPTQ (Frantar et al., 2022): second-order quantization, column by column."""

    name = "gptq"
    needs_calibration = True

    bits: Literal[2, 3, 4, 8]
    group_size: GroupSize = 128
    act_order: bool = False
    damping: Damping = 0.01
    symmetric: bool = True

    def label_parts(self) -> list[str]:
        """See `Method.label_parts`."""
        return [
            f"{self.bits}bit",
            f"g{self.group_size}",
            *when(self.act_order, "actorder"),
            *when(self.damping != 0.01, f"damp{_exact(self.damping)}"),
            *when(not self.symmetric, "asym"),
        ]


class Awq(Method):
    """AWQ (Lin et al., 2023): activation-aware scaling, then round-to-nearest."""

    name = "awq"
    needs_calibration = True

    bits: Literal[3, 4, 8]
    group_size: GroupSize = 128

    def label_parts(self) -> list[str]:
        """See `Method.label_parts`."""
        return [f"{self.bits}bit", f"g{self.group_size}"]


class Rtn(Method):
    """Round-to-nearest, the plain baseline."""

    name = "rtn"

    bits: Literal[2, 3, 4, 8]
    group_size: GroupSize = 128
    symmetric: bool = True

    def label_parts(self) -> list[str]:
        """See `Method.label_parts`."""
        return [f"{self.bits}bit", f"g{self.group_size}", *when(not self.symmetric, "asym")]


class _Pruning(Method):
    prunes = True

    sparsity: Share = 0.5
    pattern: Pattern = "unstructured"

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.pattern != "unstructured" and self.sparsity != 0.5:
            raise PydanticCustomError(
                "sparsity",
                "is {sparsity} with pattern {pattern}, which always has half its weights zero",
                {"sparsity": self.sparsity, "pattern": self.pattern, "remedy": "use 0.5"},
            )
        return self

    def label_parts(self) -> list[str]:
        """See `Method.label_parts`."""
        if self.pattern != "unstructured":
            return [self.pattern]
        return [f"{_exact(self.sparsity, scale=100)}%"]


class Magnitude(_Pruning):
    """Magnitude pruning: the smallest absolute weights become zero."""

    name = "magnitude"


class SparseGpt(_Pruning):
    """SparseGPT (Frantar and Alistarh, 2023): pruning with second-order weight updates."""

    name = "sparsegpt"
    needs_calibration = True

    damping: Damping = 0.01

    def label_parts(self) -> list[str]:
        """See `Method.label_parts`."""
        damping = when(self.damping != 0.01, f"damp{_exact(self.damping)}")
        return [*super().label_parts(), *damping]


class Wanda(_Pruning):
    """Wanda (Sun et al., 2023): prunes by |W| times the norm of the input."""

    name = "wanda"
    needs_calibration = True


class Noise(Method):
    """Control: Gaussian noise matched per layer to the error of GPTQ at `match_bits`."""

    name = "noise"
    needs_calibration = True

    match_bits: Literal[3, 4, 8] = 4

    def label_parts(self) -> list[str]:
        """See `Method.label_parts`."""
        return [f"{self.match_bits}bit"]


class Imported(Method):
    """A checkpoint that was compressed elsewhere, as its own configuration describes it.

    Attributes:
        digest: Content digest of the checkpoint.
        method: As its config.json names it; `dense` where it names none.
        bits: Bits per weight; 0 where the checkpoint is dense.
        group_size: Input columns that share one scale; 0 means one per row.
        act_order: Whether columns were quantized by decreasing activation.
        symmetric: Whether the grid has no zero point.
    """

    name = "imported"

    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    method: str = Field(min_length=1, max_length=32)
    bits: int = Field(default=0, ge=0, le=8)
    group_size: int = Field(default=0, ge=0, lt=2**31)
    act_order: bool = False
    symmetric: bool = True

    def label_parts(self) -> list[str]:
        """See `Method.label_parts`."""
        return [
            self.method,
            *when(self.bits > 0, f"{self.bits}bit"),
            *when(self.group_size > 0, f"g{self.group_size}"),
            *when(self.act_order, "actorder"),
            *when(not self.symmetric, "asym"),
            self.digest.removeprefix("sha256:")[:12],
        ]


AnyMethod = Dense | Gptq | Awq | Rtn | Magnitude | SparseGpt | Wanda | Noise | Imported

METHODS: dict[str, type[AnyMethod]] = {
    method.name: method
    for method in (Dense, Gptq, Awq, Rtn, Magnitude, SparseGpt, Wanda, Noise, Imported)
}


def when(condition: bool, part: str) -> list[str]:
    """A part of a label, if it applies."""
    return [part] if condition else []


def _exact(value: float, scale: int = 1) -> str:
    """Shortest decimal text of a float, without exponent, so that labels stay distinct."""
    return f"{(Decimal(repr(value)) * scale).normalize():f}"
