"""Verdict shards, schema version 1: what an evaluator publishes of every completion.

A shard holds no text. Comparisons, bootstraps and reports read only these rows and `score.json`,
so the schema is a contract between services: it may gain columns, never lose or change one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import StrEnum
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assay_core.errors import DataLoss

SCHEMA_VERSION = 1
_VERSION_KEY = b"assay.verdicts.schema"


class Verdict(StrEnum):
    """The class of a completion; every completion is in exactly one."""

    ANSWERED = "answered"
    REFUSED = "refused"
    UNPARSABLE = "unparsable"
    OVERLENGTH = "overlength"


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """One completion and what a parser made of it.

    Attributes:
        scenario: Scenario of the sample.
        sample_id: Stable id of the sample, unique within the scenario.
        cluster_id: The source item; samples that share it are resampled together.
        completion_index: Which completion of the sample, from 0.
        verdict: Class of the completion.
        value: What enters the score; None is left out of every denominator.
        group: Group of the sample, for fairness differences.
        label: Gold label of the sample, as text.
        prompt_tokens: Tokens of the rendered prompt.
        completion_tokens: Tokens generated.
    """

    scenario: str
    sample_id: str
    cluster_id: str
    completion_index: int
    verdict: Verdict
    value: float | None
    group: str | None
    label: str | None
    prompt_tokens: int
    completion_tokens: int


def schema() -> Any:
    """The pyarrow schema of a verdict shard."""
    return pa.schema(
        [
            pa.field("scenario", pa.string(), nullable=False),
            pa.field("sample_id", pa.string(), nullable=False),
            pa.field("cluster_id", pa.string(), nullable=False),
            pa.field("completion_index", pa.int32(), nullable=False),
            pa.field("verdict", pa.string(), nullable=False),
            pa.field("value", pa.float64()),
            pa.field("group", pa.string()),
            pa.field("label", pa.string()),
            pa.field("prompt_tokens", pa.int32(), nullable=False),
            pa.field("completion_tokens", pa.int32(), nullable=False),
        ],
        metadata={_VERSION_KEY: str(SCHEMA_VERSION).encode()},
    )


def to_table(rows: Iterable[VerdictRow]) -> Any:
    """A pyarrow table of verdict rows, in the order given."""
    names = [field.name for field in fields(VerdictRow)]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for row in rows:
        for name in names:
            columns[name].append(getattr(row, name))
    columns["verdict"] = [str(verdict) for verdict in columns["verdict"]]
    return pa.table(columns, schema=schema())


def to_bytes(table: Any) -> bytes:
    """A verdict shard as the bytes of a Parquet file; equal tables give equal bytes."""
    sink = BytesIO()
    pq.write_table(table.cast(schema()), sink, compression="zstd")
    return sink.getvalue()


def from_bytes(data: bytes) -> Any:
    """Reads a verdict shard.

    Raises:
        DataLoss: If the bytes are no verdict shard of this schema version, or hold a verdict
            class that does not exist.
    """
    try:
        # Not read_table: it imports pyarrow.dataset and with it pandas.
        table = pq.ParquetFile(BytesIO(data)).read()
    except (pa.ArrowInvalid, OSError) as error:
        raise _damaged("is not a Parquet file") from error
    version = (table.schema.metadata or {}).get(_VERSION_KEY, b"?").decode()
    if version != str(SCHEMA_VERSION):
        raise _damaged(f"has schema version {version!r}, this build reads {SCHEMA_VERSION}")
    try:
        table = table.select(schema().names).cast(schema())
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        raise _damaged("lacks a column of the schema, or has one of another type") from error
    unknown = set(table["verdict"].unique().to_pylist()) - {str(verdict) for verdict in Verdict}
    if unknown:
        raise _damaged("holds an unknown verdict class")
    return table


def _damaged(problem: str) -> DataLoss:
    return DataLoss(
        f"verdict shard {problem}",
        reason="VERDICTS_DAMAGED",
        remedy="score the evaluation again (Rescore); its generations are kept",
    )
