"""Paging and filter of lists that are few and live in memory once read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from assay_coordinator.domain.comparison import Comparison
from assay_core.errors import InvalidArgument
from assay_core.pb import common_pb2

ItemT = TypeVar("ItemT")
_FIELDS = ("variant_key", "reference_key", "dimension", "scenario", "metric", "parser_version",
           "verdict")  # fmt: skip
_DEFAULT_SIZE = 100
_CONDITION = re.compile(r"""\s*(\w+)\s*(!?=)\s*(?:"([^"]*)"|'([^']*)'|([^\s"']+))\s*""")


def page_of_comparisons(
    comparisons: Sequence[Comparison], options: common_pb2.ListOptions
) -> tuple[list[Comparison], str]:
    """One page and the token of the next; the token is the position.

    Raises:
        InvalidArgument: If filter, order or token cannot be read.
    """
    if options.order_by:
        raise InvalidArgument.of(
            "options.order_by", "is not supported here",
            remedy="leave it empty: comparisons come in the order of the matrix",
        )  # fmt: skip
    conditions = _conditions(options.filter)
    return page_of([c for c in comparisons if _keeps(c, conditions)], options)


def page_of(items: Sequence[ItemT], options: common_pb2.ListOptions) -> tuple[list[ItemT], str]:
    """One page of a list that lives in memory, and the token of the next.

    Raises:
        InvalidArgument: If the token cannot be read.
    """
    start = _position(options.page_token)
    end = start + (options.page_size or _DEFAULT_SIZE)
    return list(items[start:end]), str(end) if end < len(items) else ""


def _conditions(text: str) -> list[tuple[str, str, str]]:
    """`dimension = "ethics" AND scenario = ""` as triples of field, operator and value."""
    if not text.strip():
        return []
    found = []
    for part in re.split(r"\s+AND\s+", text.strip()):
        match = _CONDITION.fullmatch(part)
        if match is None or match[1] not in _FIELDS:
            raise InvalidArgument.of(
                "options.filter",
                "cannot be read",
                remedy="""join conditions like dimension = "ethics" by AND; fields: """
                + ", ".join(_FIELDS),
                reason="INVALID_FILTER",
            )
        value = next(group for group in match.groups()[2:] if group is not None)
        found.append((match[1], match[2], value))
    return found


def _keeps(comparison: Comparison, conditions: Sequence[tuple[str, str, str]]) -> bool:
    return all(
        (str(getattr(comparison, field) or "") == value) == (operator == "=")
        for field, operator, value in conditions
    )


def _position(token: str) -> int:
    if not token:
        return 0
    if not token.isdecimal():
        raise InvalidArgument.of(
            "options.page_token", "is not a token of this list", remedy="start without a token"
        )
    return int(token)
