"""Order and page tokens of List calls: keyset paging, so pages neither skip nor repeat."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Table, and_, or_

from assay_core.digest import digest_of
from assay_core.errors import InvalidArgument
from assay_core.field_errors import choices

DEFAULT_SIZE = 100
MAX_SIZE = 1000
DEFAULT_ORDER = "create_time desc"

_TIMES = ("create_time", "update_time")
_ORDERABLE = ("id", "state", *_TIMES)


@dataclass(frozen=True)
class OrderKey:
    """One column of an order."""

    name: str
    descending: bool


def page_size_of(requested: int) -> int:
    """The size of a page: 0 means the default, larger than the maximum means the maximum.

    Raises:
        InvalidArgument: If it is negative.
    """
    if requested < 0:
        raise InvalidArgument.of("page_size", f"is {requested}", remedy="use 0 to 1000")
    return min(requested or DEFAULT_SIZE, MAX_SIZE)


def parse_order(text: str) -> tuple[OrderKey, ...]:
    """Parses `order_by`; the id is always the last key, so that the order is total.

    Raises:
        InvalidArgument: Names the columns that exist.
    """
    keys = []
    for part in (text.strip() or DEFAULT_ORDER).split(","):
        match part.split():
            case [name] | [name, "asc"] if name in _ORDERABLE:
                keys.append(OrderKey(name, descending=False))
            case [name, "desc"] if name in _ORDERABLE:
                keys.append(OrderKey(name, descending=True))
            case _:
                raise InvalidArgument.of(
                    "order_by",
                    "has a part that is not a field with an optional `desc`",
                    remedy=f"use {choices(_ORDERABLE)}",
                )
    if all(key.name != "id" for key in keys):
        keys.append(OrderKey("id", descending=keys[-1].descending))
    return tuple(keys)


def order_columns(order: Sequence[OrderKey], table: Table) -> list[ColumnElement[Any]]:
    """The ORDER BY clause."""
    return [table.c[k.name].desc() if k.descending else table.c[k.name].asc() for k in order]


def after(order: Sequence[OrderKey], values: Sequence[Any], table: Table) -> ColumnElement[bool]:
    """The condition of rows that come after the row with these key values."""
    alternatives = []
    for index, key in enumerate(order):
        column = table.c[key.name]
        beyond = column < values[index] if key.descending else column > values[index]
        same = [table.c[k.name] == values[i] for i, k in enumerate(order[:index])]
        alternatives.append(and_(*same, beyond))
    return or_(*alternatives)


def make_token(order: Sequence[OrderKey], last: Row[Any], query: object) -> str:
    """The opaque token that continues after `last`, valid only for the same query."""
    keys = [last._mapping[key.name] for key in order]
    document = {"k": keys, "q": _short_digest(query)}
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def read_token(token: str, order: Sequence[OrderKey], query: object) -> list[Any]:
    """The key values in a token.

    Raises:
        InvalidArgument: If it is not a token of this query.
    """
    try:
        padded = token + "=" * (-len(token) % 4)
        document = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        keys, digest = document["k"], document["q"]
    except (ValueError, binascii.Error, KeyError, TypeError, RecursionError):
        keys, digest = None, None
    if not _fit(keys, order) or digest != _short_digest(query):
        raise InvalidArgument.of(
            "page_token",
            "is not a token of this list",
            reason="INVALID_PAGE_TOKEN",
            remedy="pass next_page_token unchanged, with the same project, filter and order_by",
        )
    return list(keys)


def _fit(keys: Any, order: Sequence[OrderKey]) -> bool:
    """Whether keys are of the types of an order's columns, as the database can take them."""
    if not isinstance(keys, list) or len(keys) != len(order):
        return False
    return all(
        type(value) is int and abs(value) < 2**63
        if key.name in _TIMES
        else isinstance(value, str) and value.isprintable()
        for key, value in zip(order, keys, strict=True)
    )


def _short_digest(query: object) -> str:
    return digest_of(query)[-16:]
