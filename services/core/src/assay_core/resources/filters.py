"""The `filter` of List calls: a subset of AIP-160.

    state = "RUNNING" AND (model = "demo" OR NOT label != "dense")

Comparisons (= != < <= > >=) of a declared field with a literal, joined by AND, OR, NOT and
parentheses. As in AIP-160, OR binds closer than AND. Text may be quoted with " or '.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Table, and_, not_, or_

from assay_core.errors import InvalidArgument
from assay_core.field_errors import choices
from assay_core.resources.model import State

Kind = Literal["text", "number", "boolean", "time", "state"]

_MAX_DEPTH = 16
_TOKEN = re.compile(
    r"""\s*(?:(?P<op><=|>=|!=|=|<|>)|(?P<paren>[()])|(?P<quoted>"[^"]*"|'[^']*')"""
    r"""|(?P<word>[^\s()<>=!"']+))"""
)
_COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class JsonField:
    """A value inside `spec` or `status` that callers may filter by.

    Attributes:
        path: Keys joined by dots, the first `spec` or `status`: `spec.model.uri`.
        kind: Type of the value, and so of the literal it is compared with.
    """

    path: str
    kind: Literal["text", "number", "boolean"] = "text"


_COLUMNS: Mapping[str, Kind] = {
    "id": "text",
    "project": "text",
    "request_id": "text",
    "state": "state",
    "create_time": "time",
    "update_time": "time",
}


def compile_filter(
    text: str, table: Table, fields: Mapping[str, JsonField]
) -> ColumnElement[bool] | None:
    """Compiles a filter to a SQL condition; None if it is empty.

    Args:
        text: What the caller wrote.
        table: The store's table.
        fields: Declared fields by the name that callers use.

    Raises:
        InvalidArgument: Says what is wrong at which position, or which fields exist.
    """
    tokens = _tokenize(text)
    if not tokens:
        return None
    parser = _Parser(tokens, table, fields)
    condition = parser.expression(0)
    parser.expect_end()
    return condition


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    position: int


class _Parser:
    def __init__(self, tokens: list[_Token], table: Table, fields: Mapping[str, JsonField]) -> None:
        self._tokens = tokens
        self._next = 0
        self._table = table
        self._fields = fields

    def expression(self, depth: int) -> ColumnElement[bool]:
        if depth > _MAX_DEPTH:
            raise _wrong("is nested too deeply", f"use at most {_MAX_DEPTH} levels")
        terms = [self._factor(depth)]
        while self._take_word("AND"):
            terms.append(self._factor(depth))
        return and_(*terms)

    def expect_end(self) -> None:
        if (token := self._peek()) is not None:
            raise _wrong(
                f"has something unexpected at position {token.position}",
                "join comparisons by AND or OR",
            )

    def _factor(self, depth: int) -> ColumnElement[bool]:
        terms = [self._term(depth)]
        while self._take_word("OR"):
            terms.append(self._term(depth))
        return or_(*terms)

    def _term(self, depth: int) -> ColumnElement[bool]:
        if self._take_word("NOT"):
            return not_(self._simple(depth))
        return self._simple(depth)

    def _simple(self, depth: int) -> ColumnElement[bool]:
        token = self._peek()
        if token is not None and token.text == "(" and token.kind == "paren":
            self._next += 1
            inside = self.expression(depth + 1)
            if (closing := self._peek()) is None or closing.text != ")":
                raise _wrong("has a ( without its )", "close every parenthesis")
            self._next += 1
            return inside
        return self._comparison()

    def _comparison(self) -> ColumnElement[bool]:
        name = self._take("word", "a field")
        compare = self._take("op", f"one of {choices(_COMPARE)}")
        value = self._take(("quoted", "word"), "a value")
        column, kind = self._field(name.text)
        literal = value.text[1:-1] if value.kind == "quoted" else value.text
        result: ColumnElement[bool] = _COMPARE[compare.text](
            column, _literal(literal, kind, name.text)
        )
        return result

    def _field(self, name: str) -> tuple[Any, Kind]:
        if name in _COLUMNS:
            return self._table.c[name], _COLUMNS[name]
        if (declared := self._fields.get(name)) is not None:
            first, *path = declared.path.split(".")
            value = self._table.c[first][tuple(path)]
            match declared.kind:
                case "number":
                    return value.as_float(), "number"
                case "boolean":
                    return value.as_boolean(), "boolean"
                case _:
                    return value.as_string(), "text"
        raise _wrong("names an unknown field", f"use {choices(sorted({*_COLUMNS, *self._fields}))}")

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take_word(self, word: str) -> bool:
        token = self._peek()
        if token is None or token.kind != "word" or token.text != word:
            return False
        self._next += 1
        return True

    def _take(self, kinds: str | tuple[str, ...], expected: str) -> _Token:
        token = self._peek()
        if token is None:
            raise _wrong("ends too early", f"{expected} must follow")
        if token.kind not in ((kinds,) if isinstance(kinds, str) else kinds):
            raise _wrong(
                f"has something unexpected at position {token.position}",
                f"{expected} must stand there",
            )
        self._next += 1
        return token


def _tokenize(text: str) -> list[_Token]:
    tokens = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise _wrong(f"cannot be read at position {position}", "see AIP-160")
        kind = match.lastgroup or ""
        tokens.append(_Token(kind, match[kind], match.start(kind)))
        position = match.end()
    return tokens


def _literal(text: str, kind: Kind, name: str) -> Any:
    try:
        match kind:
            case "number":
                return float(text)
            case "boolean":
                return {"true": True, "false": False}[text]
            case "state":
                return State(text).value
            case "time":
                moment = datetime.fromisoformat(text)
                return microseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
            case "text":
                return text
    except (ValueError, KeyError):
        form = {
            "number": "a number",
            "boolean": "true or false",
            "state": choices(State),
            "time": "a time such as 2026-11-24T12:00:00Z",
        }[kind]
        raise _wrong(f"compares {name} with something else", f"use {form}") from None


def microseconds(moment: datetime) -> int:
    """Unix time in whole microseconds, as the table stores it."""
    return round((moment - _EPOCH).total_seconds() * 1e6)


def moment_of(value: int) -> datetime:
    """Inverse of `microseconds`."""
    return datetime.fromtimestamp(value // 10**6, UTC).replace(microsecond=value % 10**6)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _wrong(problem: str, remedy: str) -> InvalidArgument:
    return InvalidArgument.of("filter", problem, remedy=remedy, reason="INVALID_FILTER")
