"""Calibration: the text that data-dependent methods look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from assay_core.errors import InvalidArgument
from assay_core.pb import common_pb2
from assay_core.recipes.methods import Value
from assay_core.recipes.wire import explain, parameters


class Calibration(Value):
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
            raise explain(error, field, cls) from None

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
        return cls.parse(parameters(message), field)

    def to_proto(self) -> common_pb2.Calibration:
        """Converts to the message."""
        return common_pb2.Calibration(**self.model_dump())

    def canonical(self) -> dict[str, Any]:
        """The one JSON form; `parse` reads it back."""
        return self.model_dump(mode="json")
