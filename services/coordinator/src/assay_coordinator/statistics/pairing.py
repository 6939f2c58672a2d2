"""Join of two verdict shards on the sample, and what can be counted on the pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from assay_coordinator.statistics.intervals import PairedCounts
from assay_coordinator.statistics.resampling import Ints
from assay_core.errors import FailedPrecondition

KEY = ["scenario", "sample_id"]
VERDICTS = ("answered", "refused", "unparsable", "overlength")
_SMALLEST_STRATUM = 5
_EQUAL = 1e-9


@dataclass(frozen=True)
class Pairs:
    """Verdicts of both sides, restricted to the samples that both have."""

    variant: pl.DataFrame
    reference: pl.DataFrame
    n_pairs: int
    n_clusters: int
    n_unpaired: int

    def scenario(self, name: str) -> Pairs:
        """The pairs of one scenario."""
        variant = self.variant.filter(pl.col("scenario") == name)
        reference = self.reference.filter(pl.col("scenario") == name)
        samples = variant.select(KEY).unique().height
        clusters = variant["cluster_id"].n_unique()
        return Pairs(variant, reference, samples, clusters, 0)

    @property
    def scenarios(self) -> list[str]:
        """Scenarios that have pairs, in order."""
        return sorted(self.variant["scenario"].unique().to_list())


def pair(variant: pl.DataFrame, reference: pl.DataFrame) -> Pairs:
    """Join two verdict shards (schema v1) on (scenario, sample_id).

    Raises:
        FailedPrecondition: If one sample has another cluster on each side: the two shards were not
            made from the same data pack.
    """
    left = variant.select([*KEY, "cluster_id"]).unique()
    right = reference.select([*KEY, "cluster_id"]).unique()
    both = left.join(right, on=KEY, how="inner", suffix="_reference")
    changed = both.filter(pl.col("cluster_id") != pl.col("cluster_id_reference"))
    if changed.height:
        raise FailedPrecondition(
            f"{changed.height} samples belong to another cluster on each side",
            reason="PAIRS_FROM_DIFFERENT_PACKS",
            remedy="evaluate the variant and its reference on the same data pack",
        )
    keys = both.select(KEY)
    unpaired = left.height + right.height - 2 * keys.height
    return Pairs(
        variant=_restrict(variant, keys),
        reference=_restrict(reference, keys),
        n_pairs=keys.height,
        n_clusters=both["cluster_id"].n_unique(),
        n_unpaired=unpaired,
    )


def _restrict(side: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    order = [*KEY, "completion_index"]
    return side.join(keys, on=KEY, how="semi").sort(order)


def binary_counts(pairs: Pairs, better: Mapping[str, int]) -> PairedCounts | None:
    """2 x 2 counts of good answers, or None where the metric is not binary with one completion.

    Pairs in which a side has no value (an unparsable answer that the parser does not count) are
    left out.

    Args:
        pairs: The pairs.
        better: For each scenario 1 where the value 1 is good, -1 where it is harm. With any other
            there are no counts.
    """
    harmful = [name for name, sign in better.items() if sign < 0]
    if 0 in better.values():
        return None
    sides = []
    for side in (pairs.variant, pairs.reference):
        values = side["value"].drop_nulls()
        single = side.select(KEY).is_unique().all()
        if not single or not values.is_in([0.0, 1.0]).all():
            return None
        value = pl.col("value")
        good = pl.when(pl.col("scenario").is_in(harmful)).then(1.0 - value).otherwise(value)
        sides.append(side.select(*KEY, good.alias("good")))
    joined = sides[0].join(sides[1], on=KEY, suffix="_reference").drop_nulls()
    if joined.height == 0:
        return None
    variant = joined["good"].to_numpy() == 1.0
    reference = joined["good_reference"].to_numpy() == 1.0
    return PairedCounts.of(variant, reference)


def differing_clusters(pairs: Pairs) -> set[str]:
    """Clusters in which the two sides differ in any value."""
    return differing_between(pairs.variant, pairs.reference)


def differing_between(variant: pl.DataFrame, reference: pl.DataFrame) -> set[str]:
    """Clusters in which two sides with the same samples differ in any value."""
    sides = [
        side.group_by([*KEY, "cluster_id"]).agg(
            pl.col("value").mean().fill_null(-1.0), pl.col("value").null_count().alias("missing")
        )
        for side in (variant, reference)
    ]
    both = sides[0].join(sides[1], on=KEY, suffix="_reference")
    changed = both.filter(
        ((pl.col("value") - pl.col("value_reference")).abs() > _EQUAL)
        | (pl.col("missing") != pl.col("missing_reference"))
    )
    return set(changed["cluster_id"].to_list())


def unlike_clusters(side: pl.DataFrame) -> set[str]:
    """Clusters with a sample whose value is not the most common one of its scenario."""
    samples = side.group_by([*KEY, "cluster_id"]).agg(pl.col("value").mean().fill_null(-1.0))
    common = samples.group_by("scenario").agg(pl.col("value").mode().min().alias("common"))
    both = samples.join(common, on="scenario")
    unlike = both.filter((pl.col("value") - pl.col("common")).abs() > _EQUAL)
    return set(unlike["cluster_id"].to_list())


def shares(side: pl.DataFrame) -> dict[str, float]:
    """Share of completions in each verdict class, 0-1."""
    if side.height == 0:
        return dict.fromkeys(VERDICTS, 0.0)
    counts = dict(side.group_by("verdict").len().iter_rows())
    return {verdict: counts.get(verdict, 0) / side.height for verdict in VERDICTS}


def strata_of_clusters(table: pl.DataFrame, clusters: list[str]) -> Ints:
    """Stratum of each cluster by the (scenario, group, label) cells it covers.

    Fairness differences compare rates between groups, so a draw must keep how many clusters each
    cell has. Clusters with an equal set of cells form a stratum; strata of fewer than five clusters
    are joined, because drawing from one or two clusters hides their variance.
    """
    cell = pl.concat_str(
        [pl.col(name).cast(pl.String).fill_null("") for name in ("scenario", "group", "label")],
        separator="\x1f",
    )
    signatures = (
        table.select(pl.col("cluster_id"), cell.alias("cell"))
        .unique()
        .sort("cell")
        .group_by("cluster_id")
        .agg(pl.col("cell").str.join("\x1e"))
    )
    signature_of = dict(signatures.iter_rows())
    names = np.array([signature_of.get(cluster, "") for cluster in clusters])
    _, stratum, sizes = np.unique(names, return_inverse=True, return_counts=True)
    small = sizes[stratum] < _SMALLEST_STRATUM
    result: Ints = np.where(small, -1, stratum).astype(np.int64)
    if 0 < int(small.sum()) < _SMALLEST_STRATUM and not small.all():
        largest = int(np.argmax(sizes))
        result[small] = largest
    return result
