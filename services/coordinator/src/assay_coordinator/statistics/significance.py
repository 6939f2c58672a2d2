"""Significance tests and their correction for multiplicity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from assay_coordinator.statistics.intervals import PairedCounts

EXACT_BELOW_DISCORDANT = 25


@dataclass(frozen=True)
class McNemar:
    """Result of McNemar's test on discordant pairs."""

    p_value: float
    method: Literal["mcnemar-exact", "mcnemar-asymptotic"]


def mcnemar(counts: PairedCounts) -> McNemar:
    """McNemar's test of equal marginal proportions (McNemar 1947).

    Below 25 discordant pairs the exact binomial test; from 25 on the chi-square approximation
    *without* continuity correction: Fagerland, Lydersen and Laake (2013, BMC Medical Research
    Methodology 13:91) find the uncorrected statistic close to the nominal level and the corrected
    one needlessly conservative.
    """
    exact = counts.discordant < EXACT_BELOW_DISCORDANT
    table = [[counts.both, counts.only_variant], [counts.only_reference, counts.neither]]
    if counts.discordant == 0:
        return McNemar(1.0, "mcnemar-exact")
    p_value = float(statsmodels_mcnemar(table, exact=exact, correction=False).pvalue)
    return McNemar(min(1.0, p_value), "mcnemar-exact" if exact else "mcnemar-asymptotic")


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Step-up adjusted p-values that bound the false discovery rate (Benjamini, Hochberg 1995).

    For a whole study, where the question is which of many falls are worth a look; valid for the
    positive dependence that variants of one model have (Benjamini, Yekutieli 2001).
    """
    if not p_values:
        return []
    return [min(1.0, float(p)) for p in multipletests(list(p_values), method="fdr_bh")[1]]


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjusted p-values (Holm 1979); the family is what is passed.

    Assay's family is the dimensions of one variant: "which dimensions fell" is asked per variant.
    """
    if not p_values:
        return {}
    names = list(p_values)
    adjusted = multipletests([p_values[name] for name in names], method="holm")[1]
    return {name: min(1.0, float(p)) for name, p in zip(names, adjusted, strict=True)}
