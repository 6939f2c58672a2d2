"""Verdicts reduced to samples: the table that score formulas are evaluated on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay_core.errors import InvalidArgument
from assay_core.verdicts import Verdict

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NO_CODE = -1
"""Code of a sample without group or label."""


@dataclass(frozen=True)
class ScenarioTable:
    """Samples of one scenario as columns, one entry per sample.

    Attributes:
        sample_ids: Ids, sorted.
        cluster: Index into the table's `clusters`.
        value: Mean of the sample's non-null values; NaN if it has none.
        maximum: The largest of them; NaN if it has none.
        answered: Whether any completion was answered.
        group: Index into `groups`, or `NO_CODE`.
        groups: Names of groups, sorted.
        label: 1 for the label "1", 0 for any other label, `NO_CODE` without label.
    """

    sample_ids: NDArray[np.object_]
    cluster: Ints
    value: Floats
    maximum: Floats
    answered: NDArray[np.bool_]
    group: Ints
    groups: tuple[str, ...]
    label: Ints


@dataclass(frozen=True)
class Table:
    """Verdicts reduced to samples: what a formula is evaluated on.

    Attributes:
        clusters: Ids of clusters; the columns of bootstrap weights.
        scenarios: Samples by scenario.
    """

    clusters: tuple[str, ...]
    scenarios: Mapping[str, ScenarioTable]

    @classmethod
    def from_arrow(cls, verdicts: Any, clusters: tuple[str, ...] | None = None) -> Table:
        """Builds the table of a verdict shard (pyarrow).

        Args:
            verdicts: Rows of `assay_core.verdicts.schema()`.
            clusters: Fixed order of clusters, so that two subjects share one weight matrix;
                default: the sorted clusters of `verdicts`.

        Raises:
            InvalidArgument: If a row's cluster is not in `clusters`.
        """
        scenario_code, scenario_names = _codes(verdicts["scenario"])
        cluster_code, cluster_names = _codes(verdicts["cluster_id"])
        if clusters is None:
            clusters = tuple(name for name in cluster_names if name is not None)
        position = {name: index for index, name in enumerate(clusters)}
        if any(name not in position for name in cluster_names):
            raise InvalidArgument.of(
                "clusters", "lacks a cluster of the verdicts", remedy="join on sample_id first"
            )
        to_fixed = np.array([position[name] for name in cluster_names], dtype=np.int64)
        cluster = to_fixed[cluster_code] if len(cluster_code) else cluster_code
        columns = _Columns.of(verdicts, cluster)
        return cls(
            clusters=clusters,
            scenarios={
                name: columns.scenario(np.flatnonzero(scenario_code == code))
                for code, name in enumerate(scenario_names)
            },
        )


@dataclass(frozen=True)
class _Columns:
    """Columns of completions as arrays, before they are reduced to samples."""

    sample: Ints
    sample_names: list[Any]
    cluster: Ints
    value: Floats
    answered: NDArray[np.bool_]
    group: Ints
    group_names: list[Any]
    label: Ints

    @classmethod
    def of(cls, verdicts: Any, cluster: Ints) -> _Columns:
        sample, sample_names = _codes(verdicts["sample_id"])
        group, group_names = _codes(verdicts["group"])
        label_code, label_names = _codes(verdicts["label"])
        meaning = [NO_CODE if name is None else int(name == "1") for name in label_names]
        label = np.array([*meaning, NO_CODE], dtype=np.int64)[label_code]
        value = verdicts["value"].to_numpy(zero_copy_only=False).astype(np.float64)
        classes = verdicts["verdict"].to_numpy(zero_copy_only=False)
        answered = np.asarray(classes == str(Verdict.ANSWERED), dtype=np.bool_)
        return cls(sample, sample_names, cluster, value, answered, group, group_names, label)

    def scenario(self, rows: Ints) -> ScenarioTable:
        codes, first, inverse = np.unique(self.sample[rows], return_index=True, return_inverse=True)
        value = self.value[rows]
        known = ~np.isnan(value)
        count = np.bincount(inverse[known], minlength=len(codes))
        total = np.bincount(inverse[known], weights=value[known], minlength=len(codes))
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        maximum = np.full(len(codes), np.nan)
        np.fmax.at(maximum, inverse, value)
        answered = np.bincount(inverse, weights=self.answered[rows], minlength=len(codes)) > 0
        origin = rows[first]
        used, group = np.unique(self.group[origin], return_inverse=True)
        shift = 1 if len(used) and used[0] == NO_CODE else 0
        return ScenarioTable(
            sample_ids=np.array([self.sample_names[code] for code in codes], dtype=object),
            cluster=self.cluster[origin],
            value=mean,
            maximum=maximum,
            answered=answered,
            group=group.astype(np.int64) - shift,
            groups=tuple(self.group_names[code] for code in used[shift:]),
            label=self.label[origin],
        )


def _codes(column: Any) -> tuple[Ints, list[Any]]:
    """Codes of a string column and its sorted distinct values; null is `NO_CODE`."""
    encoded = column.combine_chunks().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=names.__getitem__)
    rank = np.full(len(names) + 1, NO_CODE, dtype=np.int64)
    rank[order] = np.arange(len(names))
    indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return rank[indices], [names[index] for index in order]
