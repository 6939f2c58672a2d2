"""Trust against what it costs: size, measured latency, compression, and what a token asks for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from assay_coordinator.report import drawing
from assay_coordinator.report.figures import Plot
from assay_coordinator.report.model import ReportData, ReportVariant

Point = tuple[ReportVariant, float, float]  # variant, cost, value
_WIDTH = 8.4
_MIB = 2**20


def frontiers(data: ReportData) -> list[Plot]:
    """Mean trust against each cost that is known, with the variants that nothing beats."""
    wanted: tuple[tuple[str, str, str, Callable[[ReportVariant], float | None]], ...] = (
        ("pareto", "Mean trust against size: the frontier", "packed weights, MiB", _mib),
        (
            "pareto-latency",
            "Mean trust against measured latency: the frontier",
            _latency_label(data),
            lambda v: v.measured.milliseconds_per_token if v.measured else None,
        ),
        (
            "pareto-compression",
            "Mean trust against the cost of compression: the frontier",
            f"measured seconds of the compression job{_places(data)}",
            lambda v: v.compression_seconds,
        ),
    )
    plots = (_frontier(data, *each) for each in wanted)
    return [plot for plot in plots if plot is not None]


def against_computation(data: ReportData) -> Plot | None:
    """Mean trust, MMLU and perplexity against operations and bytes per generated token."""
    costs: tuple[tuple[str, Callable[[ReportVariant], float | None]], ...] = (
        ("operations per token, millions (counted)", lambda v: _scaled(v.flops_per_token, 1e6)),
        (
            "bytes of weights per token, MiB (counted)",
            lambda v: _scaled(v.decode_bytes_per_token, _MIB),
        ),
    )
    values: tuple[tuple[str, Callable[[ReportVariant], float | None]], ...] = (
        ("mean trust score", partial(mean_trust, data)),
        ("MMLU score", partial(_accuracy, data)),
        ("perplexity", partial(_perplexity, data)),
    )
    rows = [
        (label, [(cost, _points(data, of, value)) for cost, of in costs]) for label, value in values
    ]
    rows = [(label, panels) for label, panels in rows if all(points for _, points in panels)]
    if not rows:
        return None
    summary = "; ".join(
        f"{variant.label}: {label} {y:.1f} at {x:.1f} MiB"
        for label, panels in rows
        for variant, x, y in panels[1][1]
    )
    return Plot(
        "computation",
        "Trust and accuracy against what a generated token asks for",
        summary,
        _WIDTH,
        0.6 + 2.3 * len(rows),
        partial(drawing.draw_costs, rows),
    )


def mean_trust(data: ReportData, variant: ReportVariant) -> float | None:
    """Mean over the trust dimensions; None unless the variant has all that any variant has."""
    scored = {score.dimension for score in data.scores if score.shown is not None}
    trust = [dimension for dimension in data.dimensions if dimension in scored - {"utility"}]
    scores = [data.score(variant.key, dimension) for dimension in trust]
    values = [score.shown for score in scores if score is not None and score.shown is not None]
    return sum(values) / len(values) if values and len(values) == len(trust) else None


def _frontier(
    data: ReportData,
    name: str,
    title: str,
    label: str,
    cost: Callable[[ReportVariant], float | None],
) -> Plot | None:
    found = _points(data, cost, partial(mean_trust, data))
    if len(found) < 2:
        return None
    best: list[Point] = []
    for point in sorted(found, key=lambda each: (each[1], -each[2])):
        if not best or point[2] > best[-1][2]:
            best.append(point)
    summary = f"{label}; on the frontier: " + "; ".join(
        f"{variant.label}, {x:.1f}, {trust:.1f}" for variant, x, trust in best
    )
    draw = partial(drawing.draw_pareto, found, best, label)
    return Plot(name, title, summary, _WIDTH, 3.4, draw)


def _points(
    data: ReportData,
    cost: Callable[[ReportVariant], float | None],
    value: Callable[[ReportVariant], float | None],
) -> list[Point]:
    pairs = ((variant, cost(variant), value(variant)) for variant in data.variants)
    return [(v, x, y) for v, x, y in pairs if x is not None and y is not None]


def _accuracy(data: ReportData, variant: ReportVariant) -> float | None:
    score = data.score(variant.key, "utility")
    return score.shown if score is not None else None


def _perplexity(data: ReportData, variant: ReportVariant) -> float | None:
    found = (
        scenario.sub_values.get("perplexity")
        for score in data.scores
        if (score.variant_key, score.dimension) == (variant.key, "utility")
        for scenario in score.scenarios
    )
    return next((value for value in found if value is not None), None)


def _latency_label(data: ReportData) -> str:
    loads = {v.measured.load for v in data.variants if v.measured is not None}
    where = sorted({v.measured_on for v in data.variants if v.measured is not None})
    if len(loads) != 1:
        return f"measured ms per token ({'; '.join(where)})"
    (load,) = loads
    return (
        f"measured ms per token, {load.concurrency} requests in flight of "
        f"{load.prompt_tokens} + {load.completion_tokens} tokens ({'; '.join(where)})"
    )


def _places(data: ReportData) -> str:
    found = sorted({v.compressed_on for v in data.variants if v.compressed_on})
    return f" ({'; '.join(found)})" if found else ""


def _mib(variant: ReportVariant) -> float | None:
    return _scaled(variant.packed_bytes, _MIB)


def _scaled(value: int | None, by: float) -> float | None:
    return value / by if value else None
