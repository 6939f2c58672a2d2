"""Small words for people: states, times, sizes, numbers with intervals. Pure functions."""

from __future__ import annotations

import math

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from assay_core.pb import common_pb2, comparison_pb2

TERMINAL = frozenset(
    {common_pb2.STATE_SUCCEEDED, common_pb2.STATE_FAILED, common_pb2.STATE_CANCELLED}
)
VERDICT_MARKS = {
    comparison_pb2.VERDICT_PASS: "✓",
    comparison_pb2.VERDICT_FAIL: "✗",
    comparison_pb2.VERDICT_INCONCLUSIVE: "?",
}
VERDICT_STYLES = {
    comparison_pb2.VERDICT_PASS: "green",
    comparison_pb2.VERDICT_FAIL: "red",
    comparison_pb2.VERDICT_INCONCLUSIVE: "yellow",
}


def state(value: common_pb2.State.ValueType) -> str:
    """`STATE_WAITING_FOR_MODEL` as `waiting for model`."""
    return common_pb2.State.Name(value).removeprefix("STATE_").replace("_", " ").lower()


def layout(value: common_pb2.Layout.ValueType) -> str:
    """`LAYOUT_PACKED_GPTQ` as `packed-gptq`, the way recipes write it."""
    return common_pb2.Layout.Name(value).removeprefix("LAYOUT_").replace("_", "-").lower()


def verdict(value: comparison_pb2.Verdict.ValueType) -> str:
    """`VERDICT_PASS` as `pass`; unspecified is empty."""
    name = comparison_pb2.Verdict.Name(value).removeprefix("VERDICT_").lower()
    return "" if name == "unspecified" else name


def seconds(value: float) -> str:
    """`8 s`, `4 min`, `2 h 05 min`: as exact as a wait needs."""
    if value < 90:
        return f"{math.ceil(value)} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def eta(progress: common_pb2.Progress) -> str:
    """`about 4 min left`; empty while unknown."""
    if not progress.HasField("eta") or progress.completed >= progress.total:
        return ""
    return f"about {seconds(duration(progress.eta))} left"


def duration(value: Duration) -> float:
    """Seconds of a protobuf duration."""
    return value.seconds + value.nanos / 1e9


def moment(value: Timestamp) -> str:
    """A point in time, UTC, to the minute; empty if there is none."""
    if not value.seconds:
        return ""
    return value.ToDatetime().strftime("%Y-%m-%d %H:%M UTC")


def size(count: int) -> str:
    """Bytes with a binary unit: `3.2 MiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def difference(comparison: comparison_pb2.Comparison) -> str:
    """`-6.1 [-8.0, -4.2]`; empty if nothing could be compared."""
    if not comparison.HasField("difference"):
        return ""
    text = f"{comparison.difference:+.1f}"
    if comparison.HasField("interval_low") and comparison.HasField("interval_high"):
        text += f" [{comparison.interval_low:+.1f}, {comparison.interval_high:+.1f}]"
    return text
