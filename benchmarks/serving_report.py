"""Tables of the throughput benchmark: ratios with intervals, and processor time."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
from math import comb
from typing import Any

from benchmarks.processor_time import ROLES

PATHS = ("offline", "handle", "gateway")


def report(
    results: dict[str, dict[str, list[dict[str, Any]]]],
    workloads: dict[str, Any],
    alone: tuple[float, float],
    arguments: argparse.Namespace,
) -> None:
    """Print the table as Markdown."""
    print(
        f"{arguments.rounds} rounds, {platform.machine()}, {os.cpu_count()} cores, "
        f"model {arguments.model}\n"
    )
    print("| workload | completions | tokens | " + " | ".join(f"{p} tok/s" for p in PATHS), end="")
    print(" | gateway/offline | gateway/handle | overhead per request | first completion | same |")
    print("|---" * 11 + "|")
    for name, found in results.items():
        requests = len(workloads[name]["prompts"]) * workloads[name]["n"]
        speed = {p: statistics.median(a["tokens"] / a["seconds"] for a in found[p]) for p in PATHS}
        seconds = {p: statistics.median(a["seconds"] for a in found[p]) for p in PATHS}
        texts = [a["texts"] for p in PATHS for a in found[p]]
        print(
            f"| {name} | {requests} | {found['offline'][0]['tokens']} | "
            + " | ".join(f"{speed[p]:.0f}" for p in PATHS)
            + f" | {_ratio(found, 'gateway', 'offline')} | {_ratio(found, 'gateway', 'handle')}"
            + f" | {(seconds['gateway'] - seconds['offline']) / requests * 1e6:.0f} us"
            + f" | {statistics.median(a['first'] for a in found['gateway']) * 1000:.0f} ms"
            + f" | {'yes' if all(t == texts[0] for t in texts) else 'NO'} |"
        )
    print(f"\nOne-token request alone: {alone[0]:.1f} ms median, {alone[1]:.1f} ms p95\n")
    report_processor(results, workloads)


def report_processor(
    results: dict[str, dict[str, list[dict[str, Any]]]], workloads: dict[str, Any]
) -> None:
    """Print what each path costs in processor time, which other work distorts less."""
    roles = [*reversed([role for _, role in ROLES]), "Ray", "client"]
    print("Processor time in ms per completion\n")
    print("| workload | path | all | " + " | ".join(roles) + " |")
    print("|---" * (len(roles) + 3) + "|")
    for name, found in results.items():
        requests = len(workloads[name]["prompts"]) * workloads[name]["n"]
        for path in PATHS:
            spent = [answer["processor"] for answer in found[path]]
            columns = (
                [sum(each.values()) for each in spent],
                *([each[r] for each in spent] for r in roles),
            )
            cells = [f"{statistics.median(column) / requests * 1000:.2f}" for column in columns]
            print(f"| {name} | {path} | {' | '.join(cells)} |")


def _ratio(found: dict[str, list[dict[str, Any]]], above: str, below: str) -> str:
    ratios = sorted(
        (a["tokens"] / a["seconds"]) / (b["tokens"] / b["seconds"])
        for a, b in zip(found[above], found[below], strict=True)
    )
    low, high = median_interval(ratios)
    return f"{statistics.median(ratios):.2f} [{low:.2f}, {high:.2f}]"


def median_interval(values: list[float], level: float = 0.95) -> tuple[float, float]:
    """Interval of the median of sorted values by their ranks, whatever their distribution.

    The median lies between the k-th from below and the k-th from above unless fewer than k of n
    values are on one side of it, which is binomial. Five values or fewer: the least and greatest.
    """
    number, outside = len(values), 0.0
    for rank in range(number // 2):
        outside += 2 * comb(number, rank) / 2**number
        if outside > 1 - level:
            break
    else:
        rank = number // 2
    rank = max(rank - 1, 0)
    return values[rank], values[-1 - rank]
