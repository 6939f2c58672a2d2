"""Where words go: results to stdout, everything else to stderr.

With `--json` stdout holds exactly one JSON document (or one per line for streams), so that a
program can read it whatever happens on stderr.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

Document = Any


class Output:
    """The two streams of one command.

    Args:
        json_mode: Print documents instead of text.
    """

    def __init__(self, *, json_mode: bool = False) -> None:
        self.json_mode = json_mode
        # Created per command, because tests and pipes exchange sys.stdout. Texts of ours are
        # wrapped by the terminal, never by rich: a path must survive copy and paste.
        self.out = Console(highlight=False, soft_wrap=True)
        self.err = Console(stderr=True, highlight=False, soft_wrap=True)

    @property
    def live(self) -> bool:
        """Whether progress may redraw lines."""
        return self.err.is_terminal and not self.json_mode

    def result(self, document: Document, render: Callable[[], None] | None = None) -> None:
        """Prints a command's result: the document with `--json`, else what `render` prints."""
        if self.json_mode or render is None:
            self.out.file.write(json.dumps(to_document(document), indent=2) + "\n")
            self.out.file.flush()
        else:
            render()

    def show(self, renderable: RenderableType) -> None:
        """Prints a table to stdout, as wide as it needs to be where nobody looks."""
        if self.out.is_terminal:
            self.out.print(renderable)
            return
        wide = Console(file=self.out.file, highlight=False, width=max(160, self.out.width))
        wide.print(renderable)

    def line(self, text: str) -> None:
        """Prints one line of result text to stdout, as it is."""
        self.out.print(text, markup=False)

    def note(self, text: str) -> None:
        """Prints one line for people to stderr, as it is."""
        self.err.print(text, markup=False)

    def styled(self, text: str, style: str) -> None:
        """Prints one line for people to stderr, in a style."""
        self.err.print(f"[{style}]{escape(text)}[/]")


def plain_table(*names: str, wraps: str = "") -> Table:
    """A table without lines, a column for each name; only the one named `wraps` breaks its text."""
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, no_wrap=name != wraps)
    return table


def to_document(value: Document) -> Any:
    """Messages anywhere in lists and mappings as JSON values; field names as in the protos.

    64-bit integers stay numbers: counts here are far below 2**53.
    """
    if isinstance(value, Message):
        return _numbers(
            MessageToDict(
                value, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            ),
            value,
        )
    if isinstance(value, dict):
        return {key: to_document(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_document(each) for each in value]
    return value


def _numbers(document: Any, message: Message) -> Any:
    """Turns the strings that proto3 JSON uses for 64-bit integers back into numbers."""
    for field in message.DESCRIPTOR.fields:
        if field.name not in document:
            continue
        value = document[field.name]
        if field.message_type is not None:
            if field.message_type.GetOptions().map_entry or not isinstance(value, dict | list):
                continue
            if field.message_type.file.package == "google.protobuf":
                continue
            children = getattr(message, field.name)
            if isinstance(value, list):
                for each, child in zip(value, children, strict=True):
                    _numbers(each, child)
            else:
                _numbers(value, children)
        elif field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64):
            whole = isinstance(value, list)
            document[field.name] = [int(each) for each in value] if whole else int(value)
    return document
