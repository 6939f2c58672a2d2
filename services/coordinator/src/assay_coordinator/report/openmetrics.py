"""The scores of a study as OpenMetrics gauges, for a textfile collector or a push gateway.

A service's own metrics port carries no models or variants as labels, whose number nothing bounds;
a report is of one study, so here they are safe.
"""

from __future__ import annotations

from typing import Any, cast

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.openmetrics import exposition

from assay_coordinator.report.model import ReportData

_LABELS = ("study", "model", "variant", "seed", "dimension", "metric", "parser")
_VERDICTS = {"pass": 1.0, "inconclusive": 0.0, "fail": -1.0}


def render_openmetrics(data: ReportData) -> bytes:
    """Score, paired difference with its interval, and verdict of every variant and dimension."""
    registry = CollectorRegistry()

    def gauge(name: str, text: str, *more: str) -> Gauge:
        return Gauge(f"assay_{name}", text, (*_LABELS, *more), registry=registry)

    score = gauge("score_points", "Score, 0-100, higher is better.")
    completions = gauge("score_completions", "Completions by class.", "class")
    difference = gauge("difference_points", "Variant minus reference on the same samples.")
    low = gauge("difference_low_points", "Lower end of the interval of the difference.")
    high = gauge("difference_high_points", "Upper end of the interval of the difference.")
    verdict = gauge("verdict", "Non-inferiority: 1 pass, 0 inconclusive, -1 fail.")
    variants = {variant.key: variant for variant in data.variants}
    labels: dict[tuple[str, str, str, str], tuple[str, ...]] = {}
    named: tuple[str, ...]
    for each in data.scores:
        variant = variants[each.variant_key]
        named = (
            data.study_name, variant.model, variant.label, str(variant.calibration_seed),
            each.dimension, each.metric, each.parser_version,
        )  # fmt: skip
        labels[each.variant_key, each.dimension, each.metric, each.parser_version] = named
        if each.value is not None:
            score.labels(*named).set(each.value)
        for name in ("refused", "unparsable", "overlength"):
            completions.labels(*named, name).set(getattr(each, name))
    for found in data.comparisons:
        key = (found.variant_key, found.dimension, found.metric, found.parser_version)
        if found.scenario or found.difference is None or key not in labels:
            continue
        named = labels[key]
        difference.labels(*named).set(found.difference)
        if found.interval_low is not None and found.interval_high is not None:
            low.labels(*named).set(found.interval_low)
            high.labels(*named).set(found.interval_high)
        if found.verdict is not None:
            verdict.labels(*named).set(_VERDICTS[found.verdict])
    # The package's types do not cover this module.
    return bytes(cast(Any, exposition).generate_latest(registry))
