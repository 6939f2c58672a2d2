"""Stored completions: immutable Parquet shards, one folder per generation identity.

A shard is written once under a name of its own and never changed, so any number of writers, also
ones that were killed, leave a folder that readers can use: they drop repeats of a (sample,
completion index), the first shard by name wins.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assay_core.digest import hex_of
from assay_core.errors import DataLoss
from assay_core.storage import ObjectStore

FOLDER = "generations"
PLAN_FILE = "plan.json"
OVERLENGTH = "overlength"

_TIMING = ("segment", "arrival", "latency")
"""Columns of completions that were sent under a load; other shards do not have them."""

_SCHEMA = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("completion_index", pa.int32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("finish_reason", pa.string(), nullable=False),
        pa.field("prompt_tokens", pa.int32(), nullable=False),
        pa.field("completion_tokens", pa.int32(), nullable=False),
        pa.field("prompt_digest", pa.string(), nullable=False),
        pa.field("artifact_digest", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Completion:
    """A stored completion.

    Attributes:
        sample_id: The sample.
        completion_index: Which completion of it, from 0.
        text: What the model wrote; empty for `overlength`.
        finish_reason: `stop`, `length` or `overlength`.
        prompt_tokens: Tokens of the rendered prompt.
        completion_tokens: Tokens generated.
        prompt_digest: Digest of the rendered prompt.
        artifact_digest: Digest of the weights that wrote it.
        segment: When the uninterrupted part of a replay began that it came in, seconds since 1970;
            None, as the next two, where no load was asked for.
        arrival: When its request arrived, seconds since then.
        latency: Seconds from its arrival to the whole answer.
    """

    sample_id: str
    completion_index: int
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    prompt_digest: str
    artifact_digest: str
    segment: float | None = None
    arrival: float | None = None
    latency: float | None = None


class GenerationStore:
    """Completions of one generation identity. All methods block.

    Args:
        store: The object store.
        digest: Identity, `sha256:<hex>`.
    """

    def __init__(self, store: ObjectStore, digest: str) -> None:
        self._store = store
        self.digest = digest
        self.prefix = store.join(FOLDER, hex_of(digest))

    @property
    def uri(self) -> str:
        """URI of the folder."""
        return self._store.uri_of(self.prefix)

    def describe(self, identity: Mapping[str, Any]) -> None:
        """Writes what the digest stands for, once."""
        key = self._store.join(self.prefix, PLAN_FILE)
        if not self._store.exists(key):
            self._store.write_json(key, {"digest": self.digest, "identity": identity})

    def write(self, completions: Sequence[Completion]) -> None:
        """Writes one shard; after this returns the completions survive a crash."""
        schema = _SCHEMA
        if any(completion.latency is not None for completion in completions):
            for name in _TIMING:
                schema = schema.append(pa.field(name, pa.float64()))
        rows = [asdict(completion) for completion in completions]
        columns = {name: [row[name] for row in rows] for name in schema.names}
        sink = BytesIO()
        pq.write_table(pa.table(columns, schema=schema), sink, compression="zstd")
        # Milliseconds first, so that names sort by age.
        name = f"{time.time_ns() // 1_000_000:013d}-{uuid.uuid4().hex}.parquet"
        self._store.write_bytes(self._store.join(self.prefix, "shards", name), sink.getvalue())

    def stored(self) -> dict[str, set[int]]:
        """Completion indices that are stored, by sample. Reads the key columns only.

        Raises:
            DataLoss: Names a shard that cannot be read.
        """
        found: dict[str, set[int]] = {}
        for key in self._shards():
            table = self._table(key, ["sample_id", "completion_index"])
            keys = (column.to_pylist() for column in table.columns)
            for sample_id, index in zip(*keys, strict=True):
                found.setdefault(sample_id, set()).add(index)
        return found

    def completions(self) -> Iterator[Completion]:
        """Every completion once, in the order of shards; memory stays flat.

        Raises:
            DataLoss: Names a shard that cannot be read.
        """
        seen: dict[str, int] = {}
        for key in self._shards():
            table = self._table(key, [*_SCHEMA.names, *_TIMING])
            for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
                completion = Completion(*row)
                bit = 1 << completion.completion_index
                mask = seen.get(completion.sample_id, 0)
                if not mask & bit:
                    seen[completion.sample_id] = mask | bit
                    yield completion

    def _shards(self) -> list[str]:
        keys = self._store.list(self._store.join(self.prefix, "shards"))
        return [key for key in keys if key.endswith(".parquet")]

    def _table(self, key: str, columns: list[str]) -> Any:
        # ParquetFile and not read_table: that one imports pyarrow.dataset and with it pandas.
        try:
            source = (
                self._store.path_of(key)
                if self._store.is_local
                else BytesIO(self._store.read_bytes(key))
            )
            with pq.ParquetFile(source) as file:
                return file.read(columns=columns)
        except (pa.ArrowInvalid, OSError) as error:
            name = key.rsplit("/", 1)[-1]
            raise DataLoss(
                f"generation shard {name} cannot be read",
                reason="SHARD_DAMAGED",
                remedy="delete that file; its completions are generated again",
                metadata={"file": name, "generation": self.digest},
            ) from error
