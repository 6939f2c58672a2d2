"""A team's prompts: each broken row is named by line and field, and nothing of it is shown."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay_core.errors import InvalidArgument, ResourceExhausted
from assay_evaluators.packs.checking import check_pack
from assay_evaluators.packs.loading import Pack
from assay_evaluators.packs.team_prompts import (
    MAX_BYTES,
    check_size,
    parse_prompts,
    write_prompts_pack,
)

SECRET = "correct horse battery staple"
"""What must not show."""


def user(text: str = SECRET) -> dict[str, str]:
    return {"role": "user", "content": text}


def lines(*rows: object) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def refusal(content: bytes) -> str:
    with pytest.raises(InvalidArgument) as refused:
        parse_prompts(content, "my.jsonl")
    assert refused.value.reason == "PROMPTS_INVALID"
    assert refused.value.remedy
    said = f"{refused.value.message} {refused.value.field} {refused.value.metadata}"
    assert SECRET not in said
    return said


def test_a_row_without_an_id_is_known_by_its_line():
    rows = parse_prompts(
        b"\n" + lines({"messages": [user()]}, {"id": "b", "messages": [user()]}), "f"
    )
    assert [(row.id, row.cluster_id) for row in rows] == [("line-2", "line-2"), ("b", "b")]


def test_turns_of_one_conversation_may_share_a_cluster():
    (row,) = parse_prompts(lines({"messages": [user()], "cluster_id": "talk-1"}), "f")
    assert (row.id, row.cluster_id) == ("line-1", "talk-1")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({}, "my.jsonl:2: field messages: Field required"),
        ({"messages": []}, "my.jsonl:2: field messages"),
        ({"messages": [{"role": "tool", "content": SECRET}]}, "field messages.0.role"),
        ({"messages": [{"role": "user", "content": ""}]}, "field messages.0.content"),
        ({"messages": [{"role": "user"}]}, "field messages.0.content: Field required"),
        ({"messages": [user(), {"role": "assistant", "content": SECRET}]}, "must be of role user"),
        ({"messages": [user(), {"role": "system", "content": SECRET}, user()]}, "only the first"),
        ({"messages": [user()], SECRET: 1}, "the row: has a field that is not known"),
        ({"messages": [user()], "id": "a"}, "field id: repeats the id of line 1"),
        (SECRET, "my.jsonl:2"),
    ],
)
def test_a_broken_row_is_named_by_line_and_field(row, says):
    assert says in refusal(lines({"id": "a", "messages": [user()]}, row))


def test_what_is_no_json_and_what_is_empty_is_refused():
    assert "my.jsonl:1" in refusal(SECRET.encode())
    assert "has no prompt" in refusal(b"\n\n")
    assert "longer than 1024 KiB" in refusal(lines({"messages": [user("x" * 1024**2)]}))


@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_a_refusal(content):
    try:
        rows = parse_prompts(content, "f")
    except InvalidArgument:
        return
    assert rows


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_texts_come_back_as_they_were(texts):
    rows = parse_prompts(lines(*({"messages": [user(text)]} for text in texts)), "f")
    assert [row.messages[0].content for row in rows] == texts


def test_a_file_too_large_is_refused_before_it_is_read():
    check_size("f", MAX_BYTES)
    with pytest.raises(ResourceExhausted, match="256 MiB"):
        check_size("f", MAX_BYTES + 1)


def test_equal_rows_are_an_equal_pack_that_nobody_is_shown(tmp_path):
    content = lines({"messages": [user()]})
    digest = write_prompts_pack(content, "one.jsonl", tmp_path / "one")
    assert write_prompts_pack(b"\n".join([content.strip()]), "two", tmp_path / "two") == digest
    checked = check_pack(str(tmp_path / "one"))
    assert checked.rows == {"canary": 1}
    assert Pack.open(str(tmp_path / "one")).manifest.display == "deny"
