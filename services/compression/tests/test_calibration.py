"""Calibration text is checked line by line, and drawn the same way for the same seed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay_compression.calibration import draw_offsets, read_documents
from assay_core.errors import FailedPrecondition, InvalidArgument


def test_text_file_is_one_document(tmp_path):
    path = tmp_path / "c.txt"
    path.write_text("one\ntwo\n")
    assert read_documents(path) == ["one\ntwo\n"]


def test_jsonl_file_has_a_document_per_line_and_may_have_empty_lines(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text('{"text": "one", "id": 1}\n\n{"text": "two"}\n')
    assert read_documents(path) == ["one", "two"]


@pytest.mark.parametrize("row", ["{", "3", '{"txt": "secret"}', '{"text": 5}'])
def test_broken_line_is_named_and_its_content_is_not_shown(tmp_path, row):
    path = tmp_path / "c.jsonl"
    path.write_text('{"text": "one"}\n' + row + "\n")
    with pytest.raises(InvalidArgument, match=r"c\.jsonl line 2") as caught:
        read_documents(path)
    assert caught.value.field == "calibration.source"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"  \n", b"\xff\xfe"])
def test_file_without_readable_text_is_refused(tmp_path, data):
    path = tmp_path / "c.txt"
    path.write_bytes(data)
    with pytest.raises(InvalidArgument, match=r"c\.txt"):
        read_documents(path)


@given(st.integers(1, 500), st.integers(1, 64), st.integers(1, 50), st.integers(0, 2**40))
def test_sequences_lie_inside_the_stream(extra, length, samples, seed):
    stream = length + extra
    offsets = draw_offsets(stream, samples=samples, length=length, seed=seed)
    assert len(offsets) == samples
    assert all(0 <= offset <= stream - length for offset in offsets)
    assert offsets == draw_offsets(stream, samples=samples, length=length, seed=seed)


def test_seeds_draw_differently():
    draws = {tuple(draw_offsets(10_000, samples=8, length=16, seed=seed)) for seed in range(20)}
    assert len(draws) == 20


def test_text_shorter_than_a_sequence_is_refused():
    with pytest.raises(FailedPrecondition, match="has 5 tokens, fewer than one sequence of 6"):
        draw_offsets(5, samples=1, length=6, seed=0)
