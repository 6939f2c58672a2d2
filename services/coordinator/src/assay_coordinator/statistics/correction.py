"""Correction of p-values for how many questions a study asks."""

from __future__ import annotations

from collections.abc import Sequence

from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.statistics.significance import benjamini_hochberg, holm


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Add adjusted p-values to the comparisons of whole dimensions.

    Holm's family is the dimensions of one variant: "in which dimensions did it fall?". That of
    Benjamini and Hochberg is the whole study: "which of all these falls are worth a look?". Each
    is per parser version, because parsers see the same answers.
    """
    whole = [c for c in comparisons if not c.scenario and c.p_value is not None]
    families: dict[tuple[str, str], dict[str, float]] = {}
    studies: dict[str, dict[tuple[str, str], float]] = {}
    for c in whole:
        p_value = c.p_value or 0.0
        families.setdefault((c.variant_key, c.parser_version), {})[c.dimension] = p_value
        studies.setdefault(c.parser_version, {})[c.variant_key, c.dimension] = p_value
    by_holm = {family: holm(p_values) for family, p_values in families.items()}
    by_bh = {
        parser: dict(zip(p_values, benjamini_hochberg(list(p_values.values())), strict=True))
        for parser, p_values in studies.items()
    }
    return [
        c
        if c.scenario
        else c.model_copy(
            update={
                "p_value_holm": by_holm.get((c.variant_key, c.parser_version), {}).get(c.dimension),
                "p_value_bh": by_bh.get(c.parser_version, {}).get((c.variant_key, c.dimension)),
            }
        )
        for c in comparisons
    ]
