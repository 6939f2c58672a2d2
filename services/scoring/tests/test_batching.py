"""Batches: every text once, like lengths together, never above the budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from assay_scoring.batching import batches


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 200))
def test_every_text_is_in_one_batch_within_the_budget_or_alone(lengths, budget):
    found = list(batches(lengths, budget))
    assert sorted(position for batch in found for position in batch) == list(range(len(lengths)))
    for batch in found:
        padded = len(batch) * max(lengths[position] for position in batch)
        assert padded <= budget or len(batch) == 1


def test_the_longest_come_first():
    assert list(batches([1, 9, 5, 9], 20)) == [[1, 3], [2, 0]]
