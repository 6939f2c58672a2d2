"""Which texts go through a classifier together. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Packs texts of like length into batches of at most `budget` tokens, padding included.

    Args:
        lengths: Tokens of each text.
        budget: Most tokens of a batch: texts times the longest of them. A text longer than this
            goes alone.

    Yields:
        Positions in `lengths`, longest first, so that a batch that is too large for the memory
        shows at once.
    """
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    batch: list[int] = []
    for position in order:
        longest = lengths[batch[0]] if batch else lengths[position]
        if batch and (len(batch) + 1) * longest > budget:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch
