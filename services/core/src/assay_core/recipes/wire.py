"""What recipes and calibrations share on their way from and to messages and people's files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from assay_core.errors import AssayError, InvalidArgument
from assay_core.field_errors import invalid_argument
from assay_core.pb import common_pb2
from assay_core.recipes.methods import Pattern

Layout = Literal["dense", "packed", "packed-gptq"]

PATTERNS: dict[Pattern, common_pb2.SparsityPattern.ValueType] = {
    "unstructured": common_pb2.SPARSITY_PATTERN_UNSTRUCTURED,
    "2:4": common_pb2.SPARSITY_PATTERN_2_4,
    "4:8": common_pb2.SPARSITY_PATTERN_4_8,
}
LAYOUTS: dict[Layout, common_pb2.Layout.ValueType] = {
    "dense": common_pb2.LAYOUT_DENSE,
    "packed": common_pb2.LAYOUT_PACKED,
    "packed-gptq": common_pb2.LAYOUT_PACKED_GPTQ,
}


def parameters(message: Any) -> dict[str, Any]:
    """Fields of a parameters message that are set; proto3 zeros mean `default` and are left out.

    `false` of a plain bool and seed 0 are the defaults too, so leaving zeros out loses nothing.
    """
    found: dict[str, Any] = {}
    for descriptor, value in message.ListFields():
        if descriptor.name == "pattern":
            found["pattern"] = name_of(PATTERNS, value, "recipe.pattern")
        else:
            found[descriptor.name] = value
    return found


def name_of(table: Mapping[Any, Any], number: int, field: str) -> Any:
    """The name of an enum value.

    Raises:
        InvalidArgument: If it has none.
    """
    for name, known in table.items():
        if known == number:
            return name
    raise InvalidArgument.of(field, f"is the unknown value {number}")


def explain(error: ValidationError, path: str, model: type[BaseModel]) -> AssayError:
    """The error of a recipe or calibration that does not validate."""
    unknown = any(problem["type"] == "extra_forbidden" for problem in error.errors())
    reason = "UNKNOWN_RECIPE_FIELD" if unknown else "INVALID_RECIPE"
    return invalid_argument(error, path, model, reason=reason)
