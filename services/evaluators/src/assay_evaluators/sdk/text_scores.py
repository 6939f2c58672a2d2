"""Scores that a classifier gives to completions: made once, stored, read by scoring.

A stored score belongs to a scorer and a generation and is found by the digest of the text, so
that another parser or metric of the same scorer computes nothing again, and equal texts are
scored once. What has no score says why: blank text, or a text that the scorer failed on. The
former is known for good, the latter is asked for again next time.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from assay_core.digest import digest_of, hex_of
from assay_core.errors import DataLoss
from assay_core.storage import ObjectStore
from assay_evaluators.sdk.plan import Plan, PlannedScenario
from assay_evaluators.sdk.shards import OVERLENGTH, GenerationStore
from assay_evaluators.sdk.types import TextScore

FOLDER = "text-scores"
BLANK = "blank"
SCORER_ERROR = "scorer_error"

_SCHEMA = pa.schema(
    [
        pa.field("text_digest", pa.binary(32), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("missing", pa.string(), nullable=False),
    ]
)


class Scorer(Protocol):
    """A classifier of texts.

    Attributes:
        id: Name with version; part of metric ids.
        batch: Texts per call, after which their scores are stored.
    """

    @property
    def id(self) -> str:
        """See above."""

    @property
    def batch(self) -> int:
        """See above."""

    async def score(self, texts: Sequence[str]) -> list[TextScore]:
        """Scores of texts that are not blank, in order.

        Raises:
            AssayError: If the scorer as a whole fails; what was stored before is kept.
        """


def text_digest(text: str) -> bytes:
    """Key of a text."""
    # A lone surrogate is no UTF-8, and a completion may hold one all the same.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def checked(value: float) -> TextScore:
    """A classifier's output as a score; NaN and what lies outside 0-1 is a failure of it."""
    if math.isfinite(value) and 0 <= value <= 1:
        return TextScore(value)
    return TextScore(None, SCORER_ERROR)


async def scores_of(scorer: Scorer, texts: Sequence[str]) -> list[TextScore]:
    """Scores of a batch, in order. Blank text is the same to every scorer, so none is asked.

    Raises:
        AssayError: What the scorer raised.
    """
    asked = [text for text in texts if text.strip()]
    values = iter(await scorer.score(asked) if asked else ())
    return [next(values) if text.strip() else TextScore(None, BLANK) for text in texts]


class TextScoreStore:
    """Scores of the completions of one generation by one scorer. All methods block.

    Args:
        store: The object store.
        scorer: Id of the scorer.
        generation: Digest of the generation.
    """

    def __init__(self, store: ObjectStore, scorer: str, generation: str) -> None:
        self._store = store
        identity = {"schema": 1, "scorer": scorer, "generation": generation}
        self._prefix = store.join(FOLDER, hex_of(digest_of(identity)))

    def write(self, scores: Mapping[bytes, TextScore]) -> None:
        """Writes one shard; after this returns the scores survive a crash."""
        table = pa.table(
            {
                "text_digest": pa.array(scores.keys(), type=pa.binary(32)),
                "value": pa.array((s.value for s in scores.values()), type=pa.float64()),
                "missing": pa.array((s.missing for s in scores.values()), type=pa.string()),
            },
            schema=_SCHEMA,
        )
        sink = BytesIO()
        pq.write_table(table, sink, compression="zstd")
        name = f"{time.time_ns() // 1_000_000:013d}-{uuid.uuid4().hex}.parquet"
        self._store.write_bytes(self._store.join(self._prefix, name), sink.getvalue())

    def read(self) -> dict[bytes, TextScore]:
        """Every stored score. A value beats a failure, whichever came first.

        Raises:
            DataLoss: Names a shard that cannot be read.
        """
        scores: dict[bytes, TextScore] = {}
        for key in self._store.list(self._prefix):
            if not key.endswith(".parquet"):
                continue
            columns = (column.to_pylist() for column in self._table(key).columns)
            for digest, value, missing in zip(*columns, strict=True):
                if digest not in scores or scores[digest].missing == SCORER_ERROR:
                    scores[digest] = TextScore(value, missing)
        return scores

    def _table(self, key: str) -> Any:
        try:
            # Not read_table: it imports pyarrow.dataset and with it pandas.
            return pq.ParquetFile(BytesIO(self._store.read_bytes(key))).read(_SCHEMA.names)
        except (pa.ArrowInvalid, OSError, KeyError) as error:
            name = key.rsplit("/", 1)[-1]
            raise DataLoss(
                f"text-score shard {name} cannot be read",
                reason="SHARD_DAMAGED",
                remedy="delete that file; its texts are scored again",
                metadata={"file": name},
            ) from error


async def score_missing(
    plan: Plan,
    store: ObjectStore,
    text_of: Callable[[str], str],
    scorer: Scorer,
    progress: Callable[[int], Awaitable[None]],
) -> None:
    """Scores every text of a plan's completions that has no stored score; stores batch by batch.

    Args:
        plan: The plan, whose completions are all stored.
        store: Object store of completions and scores.
        text_of: What of a completion is scored.
        scorer: The scorer.
        progress: Called with the number of texts after each batch.

    Raises:
        AssayError: What the scorer raised. A repeat takes up after the last whole batch.
    """
    for scenario in plan.scenarios:
        if scenario.identity is None:
            continue
        scores = TextScoreStore(store, scorer.id, scenario.generation_digest)
        batches = _missing_batches(store, scenario, scores, text_of, scorer.batch)
        while batch := await asyncio.to_thread(next, batches, None):
            found = await scores_of(scorer, list(batch.values()))
            await asyncio.to_thread(scores.write, dict(zip(batch, found, strict=True)))
            await progress(len(batch))


def _missing_batches(
    store: ObjectStore,
    scenario: PlannedScenario,
    scores: TextScoreStore,
    text_of: Callable[[str], str],
    size: int,
) -> Iterator[dict[bytes, str]]:
    """Texts without a stored score by digest; memory is that of a batch and of the digests."""
    known = {digest for digest, score in scores.read().items() if score.missing != SCORER_ERROR}
    wanted = {sample.id for sample in scenario.samples}
    batch: dict[bytes, str] = {}
    for completion in GenerationStore(store, scenario.generation_digest).completions():
        generated_for_another = (
            completion.sample_id not in wanted or completion.completion_index >= scenario.sampling.n
        )
        if generated_for_another or completion.finish_reason == OVERLENGTH:
            continue
        text = text_of(completion.text)
        digest = text_digest(text)
        if digest in known:
            continue
        known.add(digest)
        batch[digest] = text
        if len(batch) == size:
            yield batch
            batch = {}
    if batch:
        yield batch
