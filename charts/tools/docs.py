"""Write the chart's README table and the metrics reference from their sources (`make chart-docs`).

The values table comes from the helm-docs comments (`# -- ...`) in values.yaml, the metrics from the
services' metric tables, so neither can tell another story than the product.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.metrics import MetricWrapperBase

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "assay"
METRICS_PAGE = ROOT / "docs" / "operations" / "metrics.md"
MARK = "<!-- values -->"


@dataclass(frozen=True)
class MetricFacts:
    """What the code declares of a metric; `name` is as scraped, without histogram suffixes."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str
    service: str


def metrics() -> list[MetricFacts]:
    """Every metric that a service declares, read from the modules that declare them."""
    found = []
    for file in sorted(ROOT.glob("services/*/src/*/metrics.py")):
        service = file.parts[-4]
        spec = importlib.util.spec_from_file_location(f"metrics_of_{service}", file)
        if spec is None or spec.loader is None:
            raise SystemExit(f"{file} cannot be read")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        for value in vars(module).values():
            if isinstance(value, MetricWrapperBase):
                found.append(_facts(value, service))
    return sorted(found, key=lambda facts: (facts.service, facts.name))


def _facts(metric: MetricWrapperBase, service: str) -> MetricFacts:
    (family,) = metric.describe()
    name = f"{family.name}_total" if family.type == "counter" else family.name
    # The library has no public way to ask for label names.
    labels = tuple(metric._labelnames)
    return MetricFacts(name, family.type, labels, family.documentation, service)


def metrics_page() -> str:
    """The metrics reference."""
    lines = [
        "# Metrics",
        "",
        "Made from the services' metric tables by `make chart-docs`; do not edit.",
        "",
        "Every service serves these on its metrics port (gRPC port + 100; 7500 in the cluster), "
        "beside the usual `process_*` and `python_*`. The ones of `core` are in every service. "
        "Labels have few values: digests, projects and text never become labels. Where a gauge of "
        "the coordinator names studies, models or variants, it has series of the newest 50 studies "
        "and 500 scores only. Several replicas of the coordinator show the same of these: take the "
        "maximum.",
        "",
        "| metric | type | labels | service | meaning |",
        "|---|---|---|---|---|",
    ]
    for facts in metrics():
        labels = ", ".join(f"`{label}`" for label in facts.labels)
        row = (f"`{facts.name}`", facts.kind, labels, facts.service, facts.help)
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def values_table() -> str:
    """Rows of every documented value with its default."""
    text = (CHART / "values.yaml").read_text()
    lines = ["| value | default | meaning |", "|---|---|---|"]
    for path, comment in _comments(text):
        default = json.dumps(_at(yaml.safe_load(text), path))
        lines.append(
            f"| `{'.'.join(path)}` | `{default}` | {comment.replace('|', chr(92) + '|')} |"
        )
    return "\n".join(lines)


def _comments(text: str) -> list[tuple[tuple[str, ...], str]]:
    found: list[tuple[tuple[str, ...], str]] = []
    stack: list[tuple[int, str]] = []
    comment = ""
    for line in text.splitlines():
        bare = line.strip()
        if bare.startswith("# -- "):
            comment = bare.removeprefix("# -- ")
        elif bare and not bare.startswith(("#", "-")) and ":" in bare:
            indent = len(line) - len(line.lstrip())
            while stack and stack[-1][0] >= indent:
                stack.pop()
            stack.append((indent, bare.split(":", 1)[0]))
            if comment:
                found.append((tuple(name for _, name in stack), comment))
            comment = ""
    return found


def _at(values: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        values = values[name]
    return values


def readme() -> str:
    """The chart's README with its table filled in."""
    text = (CHART / "README.md").read_text()
    head, _, rest = text.partition(MARK)
    _, _, tail = rest.partition(MARK)
    return f"{head}{MARK}\n{values_table()}\n{MARK}{tail}"


def main(arguments: list[str]) -> None:
    """Write both pages; `--check` only compares, `--json` prints the metrics."""
    if "--json" in arguments:
        sys.stdout.write(json.dumps([asdict(facts) for facts in metrics()]))
        return
    pages = {CHART / "README.md": readme(), METRICS_PAGE: metrics_page()}
    for file, text in pages.items():
        if "--check" not in arguments:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        elif not file.is_file() or file.read_text() != text:
            raise SystemExit(f"{file.relative_to(ROOT)} is out of date; run `make chart-docs`")


if __name__ == "__main__":
    main(sys.argv[1:])
