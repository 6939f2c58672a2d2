"""Field rules of the contracts (protovalidate), checked on every incoming message."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import protovalidate
from google.protobuf.message import Message

from assay_core.errors import FieldViolation, InvalidArgument

# Reports stay short whatever the request: the first violations are enough to act on.
_LIMIT = 8


class _Element(Protocol):
    field_name: str
    subscript: Any


def validate(message: Message) -> None:
    """Checks a message against the rules in its proto.

    Raises:
        InvalidArgument: Lists the fields with the rule each breaks, never their values.
    """
    found = _VALIDATOR.collect_violations(message)
    if not found:
        return
    violations = []
    for violation in found[:_LIMIT]:
        field = violation.proto.field
        path = _path(field.elements) if field is not None else ""
        problem = violation.proto.message or f"breaks the rule {violation.proto.rule_id}"
        violations.append(FieldViolation(path or message.DESCRIPTOR.name, problem))
    text = "; ".join(f"{v.field} {v.description}" for v in violations)
    if len(found) > _LIMIT:
        text += f"; and {len(found) - _LIMIT} more"
    raise InvalidArgument(text, reason="INVALID_FIELD", violations=violations)


def _path(elements: Iterable[_Element]) -> str:
    return ".".join(_element(element) for element in elements)


def _element(element: _Element) -> str:
    subscript = element.subscript
    if subscript is None:
        return element.field_name
    # A list index is a position; a map key may be content, so it stays out.
    return f"{element.field_name}[{subscript.value if subscript.field == 'index' else '...'}]"


_VALIDATOR = protovalidate.Validator()
