"""Recipes: a compression method with every parameter that changes the weights.

The form that people write is one key, the method, with its parameters: `{gptq: {bits: 3}}`;
`layout` and `include_embeddings` may stand beside it. Defaults are filled in at once, so two ways
of writing the same recipe are equal, have one canonical form and one variant key.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from assay_core.digest import digest_of
from assay_core.errors import AssayError, InvalidArgument
from assay_core.field_errors import choices, invalid_argument, unknown_key
from assay_core.pb import common_pb2

GroupSize = Literal[16, 32, 64, 128, 256]
Share = Annotated[float, Field(gt=0, lt=1)]
Damping = Annotated[float, Field(gt=0, le=1)]
Pattern = Literal["unstructured", "2:4", "4:8"]
Layout = Literal["dense", "packed"]

_PATTERNS: dict[Pattern, common_pb2.SparsityPattern.ValueType] = {
    "unstructured": common_pb2.SPARSITY_PATTERN_UNSTRUCTURED,
    "2:4": common_pb2.SPARSITY_PATTERN_2_4,
    "4:8": common_pb2.SPARSITY_PATTERN_4_8,
}
_LAYOUTS: dict[Layout, common_pb2.Layout.ValueType] = {
    "dense": common_pb2.LAYOUT_DENSE,
    "packed": common_pb2.LAYOUT_PACKED,
}


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Method(_Value):
    """Base of the methods' parameters.

    Attributes:
        name: The method's key in YAML and in `assay.common.v1.Recipe`.
        needs_calibration: Whether the result depends on calibration data or its seed.
    """

    name: ClassVar[str]
    needs_calibration: ClassVar[bool] = False

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
            *_when(self.act_order, "actorder"),
            *_when(self.damping != 0.01, f"damp{_exact(self.damping)}"),
            *_when(not self.symmetric, "asym"),
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
        return [f"{self.bits}bit", f"g{self.group_size}", *_when(not self.symmetric, "asym")]


class _Pruning(Method):
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
        damping = _when(self.damping != 0.01, f"damp{_exact(self.damping)}")
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


AnyMethod = Dense | Gptq | Awq | Rtn | Magnitude | SparseGpt | Wanda | Noise

METHODS: dict[str, type[AnyMethod]] = {
    method.name: method for method in (Dense, Gptq, Awq, Rtn, Magnitude, SparseGpt, Wanda, Noise)
}


class Recipe(_Value):
    """A method and how its artifact is stored.

    Attributes:
        method: The method with its parameters, all defaults filled in.
        layout: Whether the artifact keeps plain matrices or packed integers.
        include_embeddings: Whether embeddings and output head are compressed too.
    """

    method: AnyMethod
    layout: Layout = "dense"
    include_embeddings: bool = False

    @property
    def name(self) -> str:
        """The method's name: `gptq`."""
        return self.method.name

    @property
    def needs_calibration(self) -> bool:
        """Whether the result depends on calibration data or its seed."""
        return self.method.needs_calibration

    @classmethod
    def parse(cls, value: Any, field: str = "recipe") -> Recipe:
        """Reads the form that people write: `dense`, `{gptq: {bits: 3}}`.

        Args:
            value: A method's name, or a mapping with one method and its parameters.
            field: Path of the value in the request or file, for errors.

        Raises:
            InvalidArgument: Names every field that is wrong and what is allowed there.
        """
        if isinstance(value, str):
            value = {value: {}}
        if not isinstance(value, Mapping):
            raise InvalidArgument.of(
                field, "is not a mapping", remedy="write a method, such as {gptq: {bits: 4}}"
            )
        options = {key: value[key] for key in ("layout", "include_embeddings") if key in value}
        names = [str(key) for key in value if key not in options]
        for name in names:
            if name not in METHODS:
                raise unknown_key(field, name, "a method", METHODS, reason="UNKNOWN_RECIPE")
        if len(names) != 1:
            raise InvalidArgument.of(
                field,
                f"names {len(names)} methods",
                reason="UNKNOWN_RECIPE",
                remedy=f"name exactly one of {choices(METHODS)}",
            )
        (name,) = names
        parameters = value[name] if value[name] is not None else {}
        path = f"{field}.{name}"
        if not isinstance(parameters, Mapping):
            raise InvalidArgument.of(
                path, "is not a mapping of parameters", remedy=f"write {{{name}: {{...}}}}"
            )
        try:
            method = METHODS[name].model_validate(dict(parameters))
        except ValidationError as error:
            raise _explain(error, path, METHODS[name]) from None
        try:
            return cls(method=method, **options)
        except ValidationError as error:
            raise _explain(error, field, cls) from None

    @classmethod
    def from_proto(cls, message: common_pb2.Recipe, field: str = "recipe") -> Recipe:
        """Reads the message; zeros that mean a default become that default.

        Raises:
            InvalidArgument: Names the field that is wrong, or that no method is set.
        """
        name = message.WhichOneof("method")
        if name is None:
            raise InvalidArgument.of(
                field,
                "names no method",
                reason="UNKNOWN_RECIPE",
                remedy=f"set one of {choices(METHODS)}",
            )
        document: dict[str, Any] = {name: _parameters(getattr(message, name))}
        if message.layout != common_pb2.LAYOUT_UNSPECIFIED:
            document["layout"] = _name_of(_LAYOUTS, message.layout, f"{field}.layout")
        document["include_embeddings"] = message.include_embeddings
        return cls.parse(document, field)

    def to_proto(self) -> common_pb2.Recipe:
        """Converts to the message, with every default written out."""
        parameters = self.method.model_dump()
        if "pattern" in parameters:
            parameters["pattern"] = _PATTERNS[parameters["pattern"]]
        message = common_pb2.Recipe(
            layout=_LAYOUTS[self.layout], include_embeddings=self.include_embeddings
        )
        target = getattr(message, self.name)
        target.SetInParent()
        for key, value in parameters.items():
            setattr(target, key, value)
        return message

    def canonical(self) -> dict[str, Any]:
        """The one JSON form of this recipe; `parse` reads it back."""
        return {
            self.name: self.method.model_dump(mode="json"),
            "layout": self.layout,
            "include_embeddings": self.include_embeddings,
        }

    def label(self) -> str:
        """Short name for tables: `gptq-4bit-g128`, `magnitude-2:4`; distinct per recipe."""
        return "-".join(
            [
                self.name,
                *self.method.label_parts(),
                *_when(self.layout == "packed", "packed"),
                *_when(self.include_embeddings, "emb"),
            ]
        )


class Calibration(_Value):
    """The text that data-dependent methods look at.

    Attributes:
        samples: Number of sequences.
        sequence_length: Tokens per sequence.
        seed: Seed of the draw of sequences.
        source: `demo`, or the URI of a text or JSONL file.
    """

    samples: int = Field(default=128, ge=1, le=4096)
    sequence_length: int = Field(default=512, ge=1, le=8192)
    seed: int = Field(default=0, ge=0, lt=2**63)
    source: str = Field(default="demo", min_length=1, max_length=1024)

    @classmethod
    def parse(cls, value: Mapping[str, Any] | None, field: str = "calibration") -> Calibration:
        """Reads the form that people write; None means all defaults.

        Raises:
            InvalidArgument: Names every field that is wrong and what is allowed there.
        """
        if value is not None and not isinstance(value, Mapping):
            raise InvalidArgument.of(
                field, "is not a mapping", remedy="write {samples: 128, seed: 0}"
            )
        try:
            return cls.model_validate(dict(value or {}))
        except ValidationError as error:
            raise _explain(error, field, cls) from None

    @classmethod
    def from_proto(
        cls, message: common_pb2.Calibration | None, field: str = "calibration"
    ) -> Calibration:
        """Reads the message; zeros and an absent message mean defaults.

        Raises:
            InvalidArgument: Names the field that is out of range.
        """
        if message is None:
            return cls()
        return cls.parse(_parameters(message), field)

    def to_proto(self) -> common_pb2.Calibration:
        """Converts to the message."""
        return common_pb2.Calibration(**self.model_dump())

    def canonical(self) -> dict[str, Any]:
        """The one JSON form; `parse` reads it back."""
        return self.model_dump(mode="json")


def variant_key(model_digest: str, recipe: Recipe, calibration: Calibration) -> str:
    """Content identity of a variant, known before any work is done.

    Calibration is part of it only where the method looks at data: round-to-nearest with two
    seeds is one variant.
    """
    return digest_of(
        {
            "model": model_digest,
            "recipe": recipe.canonical(),
            "calibration": calibration.canonical() if recipe.needs_calibration else None,
        }
    )


def _parameters(message: Any) -> dict[str, Any]:
    """Fields of a parameters message that are set; proto3 zeros mean `default` and are left out.

    `false` of a plain bool and seed 0 are the defaults too, so leaving zeros out loses nothing.
    """
    found: dict[str, Any] = {}
    for descriptor, value in message.ListFields():
        if descriptor.name == "pattern":
            found["pattern"] = _name_of(_PATTERNS, value, "recipe.pattern")
        else:
            found[descriptor.name] = value
    return found


def _name_of(table: Mapping[Any, Any], number: int, field: str) -> Any:
    for name, known in table.items():
        if known == number:
            return name
    raise InvalidArgument.of(field, f"is the unknown value {number}")


def _explain(error: ValidationError, path: str, model: type[BaseModel]) -> AssayError:
    unknown = any(problem["type"] == "extra_forbidden" for problem in error.errors())
    reason = "UNKNOWN_RECIPE_FIELD" if unknown else "INVALID_RECIPE"
    return invalid_argument(error, path, model, reason=reason)


def _when(condition: bool, part: str) -> list[str]:
    return [part] if condition else []


def _exact(value: float, scale: int = 1) -> str:
    """Shortest decimal text of a float, without exponent, so that labels stay distinct."""
    return f"{(Decimal(repr(value)) * scale).normalize():f}"
