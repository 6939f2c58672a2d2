"""A team's own prompts: JSON Lines of chat messages in, a data pack for the dimension `canary` out.

A row is `{"messages": [{"role": "user", "content": "..."}]}`, with an `id` and a `cluster_id` where
the team has them. No message of an error holds anything of a row but the names of its fields.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from assay_core.errors import InvalidArgument, ResourceExhausted
from assay_core.storage import ObjectStore
from assay_evaluators.packs.schema import Row, ScenarioEntry, Strict
from assay_evaluators.packs.writing import PackWriter

DIMENSION = "canary"
SCENARIO = "replay"
PROMPT_FILES = (".jsonl", ".ndjson")
MAX_BYTES = 256 * 1024**2
MAX_ROW_BYTES = 1024**2
MAX_ROWS = 100_000
_FILE = f"data/{DIMENSION}/{SCENARIO}.jsonl"


class Turn(Strict):
    """A turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str = Field(min_length=1)


class _Conversation(Strict):
    messages: tuple[Turn, ...] = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _can_be_answered(self) -> Self:
        roles = [turn.role for turn in self.messages]
        if roles[-1] != "user":
            raise ValueError("the last of `messages` must be of role user, for a model to answer")
        if "system" in roles[1:]:
            raise ValueError("of `messages` only the first may be of role system")
        return self


class PromptRow(Row, _Conversation):
    """A row of a pack of prompts."""


class _Given(_Conversation):
    """A row as a team writes it."""

    id: str = Field(default="", max_length=200)
    cluster_id: str = Field(default="", max_length=200)


def read_prompts(store: ObjectStore, name: str) -> bytes:
    """Reads a file of prompts. Blocks.

    Raises:
        NotFound: If there is none.
        ResourceExhausted: If it is too large.
    """
    check_size(name, store.size(name))
    return store.read_bytes(name)


def check_size(name: str, size: int) -> None:
    """Refuses a file that is too large, before it is read.

    Raises:
        ResourceExhausted: If it is.
    """
    if size > MAX_BYTES:
        raise ResourceExhausted(
            f"{name} is larger than {MAX_BYTES // 1024**2} MiB",
            field="prompts_uri",
            reason="PROMPTS_TOO_LARGE",
            remedy="replay a sample of the prompts",
        )


def parse_prompts(content: bytes, name: str) -> tuple[PromptRow, ...]:
    """Rows of a file of prompts; blank lines are skipped.

    A row without an id is known by its line, one without a cluster by its id.

    Raises:
        InvalidArgument: Names file, line and field of the first broken row; never shows a value.
    """
    rows: list[PromptRow] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{name}:{number}"
        if len(line) > MAX_ROW_BYTES:
            raise _broken(where, f"is longer than {MAX_ROW_BYTES // 1024} KiB")
        try:
            given = _Given.model_validate_json(line)
        except ValidationError as error:
            raise _broken(where, _problem(error)) from None
        identifier = given.id or f"line-{number}"
        if identifier in seen:
            raise _broken(where, f"field id: repeats the id of line {seen[identifier]}")
        seen[identifier] = number
        rows.append(
            PromptRow(
                id=identifier,
                cluster_id=given.cluster_id or identifier,
                messages=given.messages,
            )
        )
        if len(rows) > MAX_ROWS:
            raise _broken(where, f"is prompt {MAX_ROWS + 1:,}; a replay has {MAX_ROWS:,} at most")
    if not rows:
        raise _broken(name, "has no prompt")
    return tuple(rows)


def write_prompts_pack(content: bytes, name: str, out: Path) -> str:
    """Writes the pack of a file of prompts, and returns its digest.

    Equal rows give equal packs, whatever the file is called. Its texts are never shown.

    Args:
        content: The file.
        name: Its name, for messages.
        out: Directory to create.

    Raises:
        InvalidArgument: Names file, line and field of the first broken row.
    """
    rows = parse_prompts(content, name)
    writer = PackWriter(out)
    writer.add_prompts({})
    writer.add_rows(_FILE, rows)
    entry = ScenarioEntry(file=_FILE, rows=len(rows), rows_expected=len(rows))
    writer.add_scenario(DIMENSION, SCENARIO, entry)
    return writer.finish(
        name="team-prompts",
        version="1",
        licence="the team's own",
        attribution="",
        display="deny",
        source="a file of prompts of a team's own",
    )


def _problem(error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
    # What pydantic calls an extra field is a name out of the row: only its place is said.
    if problem["type"] == "extra_forbidden":
        place = ".".join(str(part) for part in problem["loc"][:-1]) or "the row"
        return f"field {place}: has a field that is not known"
    field = ".".join(str(part) for part in problem["loc"])
    text = problem["msg"].removeprefix("Value error, ")
    return f"field {field}: {text}" if field else text


def _broken(where: str, problem: str) -> InvalidArgument:
    return InvalidArgument(
        f"{where}: {problem}",
        field=where,
        reason="PROMPTS_INVALID",
        remedy='write one JSON object a line: {"messages": [{"role": "user", "content": ...}]},'
        " with `id` and `cluster_id` where you have them",
    )
