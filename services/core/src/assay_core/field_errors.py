"""Pydantic's complaints as InvalidArgument: the field by its path, its value, what is allowed.

For documents that people write (recipes, study files, packs). Values are shown only where they
are numbers, booleans or short words; longer text may be content and stays out. Where prompts stand
in the document itself, no text is shown.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from assay_core.errors import FieldViolation, InvalidArgument

_SHOWN_LENGTH = 40


def invalid_argument(
    error: ValidationError,
    path: str,
    model: type[BaseModel] | None = None,
    *,
    reason: str = "INVALID_FIELD",
    show_text: bool = True,
) -> InvalidArgument:
    """Converts a validation error of a document.

    Args:
        error: What pydantic raised.
        path: Path of the document itself: `recipe.gptq`, `study.models[0]`; may be empty.
        model: The model that was validated, to list its fields when one is unknown.
        reason: Reason of the error.
        show_text: Whether short texts of the document are shown.
    """
    problems = [
        _problem(detail, path, model, _shown(detail["input"], show_text))
        for detail in error.errors(include_url=False)
    ]
    violations = [
        FieldViolation(field, f"{problem}: {remedy}" if remedy else problem)
        for field, problem, remedy in problems
    ]
    if len(problems) == 1:
        field, problem, remedy = problems[0]
        return InvalidArgument(
            f"{field} {problem}",
            field=field,
            remedy=remedy,
            reason=reason,
            violations=violations,
        )
    return InvalidArgument(
        "; ".join(f"{v.field} {v.description}" for v in violations),
        reason=reason,
        violations=violations,
    )


def unknown_key(
    path: str, key: str, what: str, known: Iterable[str], *, reason: str
) -> InvalidArgument:
    """The error of a key that does not exist, with the nearest one that does."""
    return InvalidArgument.of(
        _join(path, (_shown_key(key),)),
        f"is not {what}",
        remedy=_nearest(key, known),
        reason=reason,
    )


def choices(values: Iterable[Any]) -> str:
    """Values in one phrase: `2, 3, 4 or 8`."""
    texts = [str(value) for value in values]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"


def _problem(
    detail: Mapping[str, Any], path: str, model: type[BaseModel] | None, shown: str
) -> tuple[str, str, str | None]:
    context = dict(detail.get("ctx") or {})
    field = _join(path, detail["loc"])
    match detail["type"]:
        case "extra_forbidden":
            key = str(detail["loc"][-1])
            top_level = len(detail["loc"]) == 1 and model is not None
            remedy = _nearest(key, model.model_fields) if top_level and model else "remove it"
            return _join(path, (*detail["loc"][:-1], _shown_key(key))), "is not known here", remedy
        case "missing":
            return field, "is missing", "add it"
        case "literal_error":
            allowed = str(context["expected"]).replace("'", "")
            return field, f"is {shown}", f"use {allowed}"
        case "sparsity":
            return _join(field, ("sparsity",)), str(detail["msg"]), str(context["remedy"])
        case _:
            expected = str(detail["msg"]).removeprefix("Value error, ")
            expected = expected.replace("Input should be", "must be", 1)
            return field, f"is {shown}", expected[0].lower() + expected[1:]


def _join(path: str, parts: Iterable[Any]) -> str:
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path = f"{path}.{part}" if path else str(part)
    return path


def _nearest(key: str, known: Iterable[str]) -> str:
    names = sorted(known)
    if not names:
        return "remove it, nothing can be set here"
    near = difflib.get_close_matches(key, names, n=1)
    listed = f"known are {choices(names).replace(' or ', ' and ')}"
    return f"did you mean {near[0]}? {listed}" if near else listed


def _shown_key(key: str) -> str:
    return key if len(key) <= _SHOWN_LENGTH else f"{key[:_SHOWN_LENGTH]}…"


def _shown(value: Any, show_text: bool) -> str:
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str) and show_text and len(value) <= _SHOWN_LENGTH:
        return repr(value)
    if isinstance(value, str):
        return f"a text of {len(value)} characters"
    return f"a {type(value).__name__}"
