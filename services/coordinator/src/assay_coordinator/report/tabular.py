"""The report as JSON and as CSV."""

from __future__ import annotations

import csv
import io

from assay_coordinator.report.model import ReportData

CSV_COLUMNS = (
    "schema_version", "study_id", "variant", "model", "label", "calibration_seed",
    "bits_per_weight", "sparsity", "dimension", "scenario", "metric", "parser_version",
    "score", "score_low", "score_high", "n", "n_expected", "refused", "unparsable", "complete",
    "reference", "reference_score", "difference", "difference_low", "difference_high",
    "p_value", "p_value_holm", "n_pairs", "n_clusters", "verdict", "margin",
)  # fmt: skip

_DANGEROUS_FIRST = ("=", "+", "-", "@", "\t", "\r")


def render_json(data: ReportData) -> bytes:
    """The whole report as JSON, `schema_version` first."""
    return data.model_dump_json(indent=1).encode()


def render_csv(data: ReportData) -> bytes:
    """One line per variant, dimension and parser version, then one per scenario of it."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, CSV_COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    variants = {variant.key: variant for variant in data.variants}
    compared = {
        (c.variant_key, c.dimension, c.scenario, c.metric, c.parser_version): c
        for c in data.comparisons
    }
    for score in data.scores:
        variant = variants[score.variant_key]
        common: dict[str, object] = {
            "schema_version": data.schema_version,
            "study_id": data.study_id,
            "variant": variant.key,
            "model": variant.model,
            "label": variant.label,
            "calibration_seed": variant.calibration_seed,
            "bits_per_weight": variant.bits_per_weight,
            "sparsity": variant.sparsity,
            "dimension": score.dimension,
            "metric": score.metric,
            "parser_version": score.parser_version,
        }
        rows: list[dict[str, object]] = [
            {
                "scenario": "",
                "score": score.value,
                "score_low": score.interval_low,
                "score_high": score.interval_high,
                "n": score.n,
                "n_expected": score.n_expected,
                "refused": score.refused,
                "unparsable": score.unparsable,
                "complete": str(score.complete).lower(),
            }
        ]
        rows += [
            {
                "scenario": part.scenario,
                "score": part.value,
                "score_low": part.interval_low,
                "score_high": part.interval_high,
                "n": part.n,
                "n_expected": part.n_expected,
            }
            for part in score.scenarios
        ]
        for row in rows:
            cell = (score.variant_key, score.dimension, str(row["scenario"]))
            key = (*cell, score.metric, score.parser_version)
            comparison = compared.get(key)
            if comparison is not None:
                row |= {
                    "reference": comparison.reference_key,
                    "reference_score": comparison.reference_score,
                    "difference": comparison.difference,
                    "difference_low": comparison.interval_low,
                    "difference_high": comparison.interval_high,
                    "p_value": comparison.p_value,
                    "p_value_holm": comparison.p_value_holm,
                    "n_pairs": comparison.n_pairs,
                    "n_clusters": comparison.n_clusters,
                    "verdict": comparison.verdict,
                    "margin": comparison.margin,
                }
            writer.writerow({name: _cell(value) for name, value in (common | row).items()})
    for row in _canary_rows(data):
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return out.getvalue().encode()


def _canary_rows(data: ReportData) -> list[dict[str, object]]:
    """What a canary compares, in percent; the metric says what."""
    if data.canary is None:
        return []
    return [
        {
            "schema_version": data.schema_version,
            "study_id": data.study_id,
            "variant": data.canary.variant.key,
            "dimension": "canary",
            "metric": each.name,
            "reference": data.canary.reference.key,
            "difference": 100 * each.value,
            "difference_low": 100 * each.low,
            "difference_high": 100 * each.high,
            "n_pairs": each.n_pairs,
            "verdict": each.verdict,
            "margin": None if each.limit is None else 100 * each.limit,
        }
        for each in data.canary.measures
    ]


def _cell(value: object) -> object:
    """Text that a spreadsheet would read as a formula is quoted, as OWASP advises."""
    if isinstance(value, str) and value.startswith(_DANGEROUS_FIRST):
        return "'" + value
    return "" if value is None else value
