"""A recipe: a method, and how its artifact is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from assay_core.errors import InvalidArgument
from assay_core.field_errors import choices, unknown_key
from assay_core.pb import common_pb2
from assay_core.recipes.methods import METHODS, AnyMethod, Value, when
from assay_core.recipes.wire import LAYOUTS, PATTERNS, Layout, explain, name_of, parameters


class Recipe(Value):
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
            raise explain(error, path, METHODS[name]) from None
        try:
            return cls(method=method, **options)
        except ValidationError as error:
            raise explain(error, field, cls) from None

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
        document: dict[str, Any] = {name: parameters(getattr(message, name))}
        if message.layout != common_pb2.LAYOUT_UNSPECIFIED:
            document["layout"] = name_of(LAYOUTS, message.layout, f"{field}.layout")
        document["include_embeddings"] = message.include_embeddings
        return cls.parse(document, field)

    def to_proto(self) -> common_pb2.Recipe:
        """Converts to the message, with every default written out."""
        parameters = self.method.model_dump()
        if "pattern" in parameters:
            parameters["pattern"] = PATTERNS[parameters["pattern"]]
        message = common_pb2.Recipe(
            layout=LAYOUTS[self.layout], include_embeddings=self.include_embeddings
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
                *when(self.layout != "dense", self.layout),
                *when(self.include_embeddings, "emb"),
            ]
        )
