"""Write the Grafana dashboards of the chart from one table: charts/assay/dashboards/*.json.

`$rate` in a query becomes Grafana's rate interval, `$sel` the selector of the chosen namespace.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "assay" / "dashboards"
SELECTOR = 'namespace=~"$namespace"'
COLUMNS = 24
DCGM = "NVIDIA's dcgm-exporter"


@dataclass(frozen=True)
class Panel:
    """One panel: a title, queries by legend, and the unit of the values.

    A panel of another exporter names it: it has data only where that is scraped.
    """

    title: str
    queries: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    description: str = ""
    least: float | None = 0.0
    exporter: str = ""


def quantiles(metric: str, by: str = "") -> dict[str, str]:
    """Median and 95th percentile of a histogram."""
    labels = f"le, {by}" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    return {
        f"p{int(q * 100)}{legend}": f"histogram_quantile({q}, sum by ({labels}) "
        f"(rate({metric}_bucket{{$sel}}[$rate])))"
        for q in (0.5, 0.95)
    }


def rate(metric: str, by: str = "", selector: str = "") -> str:
    """Sum of a counter's rate."""
    inner = f"$sel, {selector}" if selector else "$sel"
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{inner}}}[$rate]))"


def newest(metric: str, by: str, selector: str = "") -> str:
    """A gauge that every replica of the coordinator shows alike."""
    inner = f"$sel, {selector}" if selector else "$sel"
    return f"max by ({by}) ({metric}{{{inner}}})"


# As Grafana's variables of the trust dashboard choose.
_CHOSEN = 'model=~"$model", dimension=~"$dimension"'
# The mean over calibration seeds: their largest would flatter a recipe.
_BY_SEED = newest("assay_coordinator_score_points", "model, variant, seed, dimension", _CHOSEN)
_SCORES = f"avg by (model, variant, dimension) ({_BY_SEED})"
_DENSE = newest("assay_coordinator_score_points", "model, dimension", f'variant="dense", {_CHOSEN}')
_COMPLETIONS = newest("assay_coordinator_study_completions", "study, name")
_EXPECTED = newest("assay_coordinator_study_expected_completions", "study, name")
# A name of the exporter's table of default counters (NVIDIA/dcgm-exporter,
# etc/default-counters.csv); MIG slices tell themselves apart by GPU_I_ID.
_GPU = "{{Hostname}} GPU {{gpu}} {{GPU_I_ID}}"

_ALL = rate("assay_rpc_requests_total", "grpc_service")
_ERRORS = rate(
    "assay_rpc_requests_total", "grpc_service", 'code=~"INTERNAL|UNKNOWN|DATA_LOSS|UNAVAILABLE"'
)

DASHBOARDS: dict[str, tuple[str, list[Panel]]] = {
    "assay-overview": (
        "Assay / Overview",
        [
            Panel("Services ready", {"{{service}}": "sum by (service) (assay_server_ready{$sel})"},
                  kind="stat", width=12),
            Panel("Versions", {"{{service}} {{version}}":
                  "count by (service, version) (assay_server_info{$sel})"}, kind="stat", width=12),
            Panel("RPCs per second", {"{{grpc_service}}":
                  rate("assay_rpc_requests_total", "grpc_service")}, "reqps"),
            Panel("Share of RPCs that end in a server's error", {"{{grpc_service}}":
                  f"{_ERRORS} / {_ALL} or {_ALL} * 0"}, "percentunit"),
            Panel("RPCs by status", {"{{code}}":
                  rate("assay_rpc_requests_total", "code")}, "reqps"),
            Panel("RPC latency", quantiles("assay_rpc_duration_seconds", "grpc_service"), "s",
                  description="Streams count with their whole life."),
            Panel("RPCs in flight", {"{{grpc_service}}":
                  "sum by (grpc_service) (assay_rpc_in_flight{$sel})"}),
            Panel("Messages per second", {"{{direction}}":
                  rate("assay_rpc_messages_total", "direction")}, "cps"),
        ],
    ),
    "assay-trust": (
        "Assay / Trust",
        [
            Panel("Newest scores", {"{{model}} {{variant}}: {{dimension}}": _SCORES},
                  kind="bargauge", width=24,
                  description="The newest score of each variant, mean over its calibration seeds, "
                  "0 to 100, higher is better."),
            Panel("Scores over time", {"{{model}} {{variant}}: {{dimension}}": _SCORES},
                  width=24, description="A step is a newer study of the same variant."),
            Panel("Points over the dense parent", {"{{model}} {{variant}}: {{dimension}}":
                  f"{_SCORES} - on (model, dimension) group_left () {_DENSE}"},
                  width=24, least=None,
                  description="Newest scores only. Whether a difference is real says the report, "
                  "which compares on the same samples."),
            Panel("Verdicts against the parent", {"{{dimension}} {{verdict}}":
                  "sum by (dimension, verdict) (assay_coordinator_comparisons_total{$sel})"},
                  width=24),
        ],
    ),
    "assay-evaluations": (
        "Assay / Studies",
        [
            Panel("Studies under way", {"{{state}}":
                  newest("assay_coordinator_active_studies", "state")}, kind="stat", width=6),
            Panel("Progress", {"{{name}} {{study}}": f"{_COMPLETIONS} / ({_EXPECTED} > 0)"},
                  "percentunit", width=9),
            Panel("Time left", {"{{name}} {{study}}":
                  newest("assay_coordinator_study_eta_seconds", "study, name")}, "s", width=9),
            Panel("Studies by end", {"{{state}}":
                  "sum by (state) (assay_coordinator_studies_total{$sel})"}, kind="stat", width=6),
            Panel("Completions of studies under way", {"{{name}} {{study}}": _COMPLETIONS},
                  width=18),
            Panel("Completions stored per second", {"{{component}}":
                  rate("assay_evaluator_completions_stored_total", "component")}, "cps"),
            Panel("Completions in flight", {"{{component}}":
                  "sum by (component) (assay_evaluator_completions_in_flight{$sel})"}),
            Panel("Tokens received per second", {"{{component}}":
                  rate("assay_evaluator_completion_tokens_total", "component")}, "cps"),
            Panel("Evaluations by end", {"{{state}}":
                  "sum by (state) (assay_evaluator_evaluations_total{$sel})"}),
            Panel("Time to parse and score", quantiles("assay_evaluator_score_seconds"), "s"),
            Panel("Texts that a classifier scored per second", {"{{scorer}}":
                  f"{rate('assay_evaluator_texts_scored_total', 'scorer')} or vector(0)"}, "cps"),
        ],
    ),
    "assay-serving": (
        "Assay / Serving",
        [
            Panel("Tokens per second", {
                "generated": rate("assay_serving_completion_tokens_total"),
                "prompt": rate("assay_serving_prompt_tokens_total"),
            }, "cps"),
            Panel("Completions per second", {"{{outcome}}":
                  rate("assay_serving_completions_total", "outcome")}, "cps"),
            Panel("Time to the first token", quantiles("assay_serving_first_token_seconds"), "s"),
            Panel("Time to the first finished completion of a batch",
                  quantiles("assay_serving_first_result_seconds"), "s"),
            Panel("Share of prompt tokens from the prefix cache", {"cached":
                  f"{rate('assay_serving_cached_prompt_tokens_total')} / "
                  f"({rate('assay_serving_prompt_tokens_total')} > 0) or vector(0)"},
                  "percentunit"),
            Panel("Completions in the engines", {"in flight":
                  "sum (assay_serving_in_flight_completions{$sel})"}),
            Panel("Batches that wait for room", {"waiting":
                  "sum (assay_serving_waiting_batches{$sel})"}),
            Panel("Engines, leases, queue of loads", {
                "engines": "sum (assay_serving_engines{$sel})",
                "leases": "sum (assay_serving_leases{$sel})",
                "queued loads": "sum (assay_serving_load_queue{$sel})",
                "models to stay": "sum (assay_serving_wanted_models{$sel})",
            }),
            Panel("Loads", {"{{how}}": "sum by (how) (assay_serving_loads_total{$sel})"}),
            Panel("Time of a load", quantiles("assay_serving_load_seconds", "how"), "s"),
            Panel("Engines that died", {"deaths":
                  "sum (assay_serving_engine_deaths_total{$sel})"}),
            Panel("Requests of the HTTP door per second", {"{{endpoint}} {{status}}":
                  f"{rate('assay_serving_http_requests_total', 'endpoint, status')} "
                  "or vector(0)"}, "reqps"),
        ],
    ),
    "assay-compression": (
        "Assay / Compression",
        [
            Panel("Jobs running and queued", {
                "running": "sum (assay_compression_jobs_running{$sel})",
                "queued": "sum (assay_compression_jobs_queued{$sel})",
            }, width=12),
            Panel("Jobs by method and outcome", {"{{method}} {{outcome}}":
                  "sum by (method, outcome) (assay_compression_jobs_total{$sel})"}, width=12),
            Panel("Wall time of a job", quantiles("assay_compression_job_seconds", "method"), "s",
                  width=12),
            Panel("Requests answered by an existing artifact", {"{{method}}":
                  "sum by (method) (assay_compression_cache_hits_total{$sel}) or vector(0)"},
                  width=6),
            Panel("Workers that died", {"{{method}}":
                  "sum by (method) (assay_compression_worker_deaths_total{$sel}) or vector(0)"},
                  width=6),
        ],
    ),
    "assay-gpu": (
        "Assay / GPU",
        [
            Panel("Use", {_GPU: "DCGM_FI_DEV_GPU_UTIL"}, "percent", width=12, exporter=DCGM),
            Panel("Memory used", {_GPU: "DCGM_FI_DEV_FB_USED"}, "decmbytes", width=12,
                  exporter=DCGM),
            Panel("Share of memory used", {_GPU:
                  "DCGM_FI_DEV_FB_USED / (DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE)"},
                  "percentunit", width=12, exporter=DCGM),
            Panel("Memory copy use", {_GPU: "DCGM_FI_DEV_MEM_COPY_UTIL"}, "percent", width=12,
                  exporter=DCGM),
            Panel("Power", {_GPU: "DCGM_FI_DEV_POWER_USAGE"}, "watt", exporter=DCGM),
            Panel("Temperature", {_GPU: "DCGM_FI_DEV_GPU_TEMP"}, "celsius", exporter=DCGM),
            Panel("Last XID error", {_GPU: "DCGM_FI_DEV_XID_ERRORS"}, exporter=DCGM),
        ],
    ),
    "assay-processes": (
        "Assay / Processes",
        [
            Panel("Resident memory", {"{{component}}":
                  "process_resident_memory_bytes{$sel} and on (instance) assay_server_info"},
                  "bytes", width=12),
            Panel("CPU", {"{{component}}": "rate(process_cpu_seconds_total{$sel}[$rate]) "
                  "and on (instance) assay_server_info"}, width=12),
            Panel("Open files", {"{{component}}":
                  "process_open_fds{$sel} and on (instance) assay_server_info"}, width=12),
            Panel("Age", {"{{component}}": "time() - process_start_time_seconds{$sel} "
                  "and on (instance) assay_server_info"}, "s", width=12),
        ],
    ),
}  # fmt: skip


def dashboard(uid: str, title: str, panels: list[Panel]) -> dict[str, Any]:
    """A dashboard in Grafana's JSON model."""
    laid_out, x, y = [], 0, 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > COLUMNS:
            x, y = 0, y + 8
        laid_out.append(_panel(number, panel, x, y))
        x += panel.width
    return {
        "uid": uid,
        "title": title,
        "tags": ["assay"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "templating": {"list": [_DATASOURCE, *_variables(panels)]},
        "panels": laid_out,
    }


_DATASOURCE = {
    "name": "datasource",
    "label": "Data source",
    "type": "datasource",
    "query": "prometheus",
}
# Variables by name: label for people, and the metric whose label's values they offer.
_VARIABLES = {
    "namespace": ("Namespace", "assay_server_info"),
    "model": ("Model", "assay_coordinator_score_points"),
    "dimension": ("Dimension", "assay_coordinator_score_points"),
}


def _variables(panels: list[Panel]) -> list[dict[str, Any]]:
    """Those that a query of the dashboard uses; several values or all may be chosen."""
    text = " ".join(query for panel in panels for query in panel.queries.values())
    text = text.replace("$sel", SELECTOR)
    return [
        {
            "name": name,
            "label": label,
            "type": "query",
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "query": f"label_values({metric}, {name})",
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }
        for name, (label, metric) in _VARIABLES.items()
        if f"${name}" in text
    ]


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    return {
        "id": number,
        "title": panel.title,
        "description": " ".join(
            filter(None, [panel.description, panel.exporter and f"Needs {panel.exporter}."])
        ),
        "type": panel.kind,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": 8},
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "expr": query.replace("$sel", SELECTOR).replace("$rate", "$__rate_interval"),
                "legendFormat": legend,
            }
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def _field(panel: Panel) -> dict[str, Any]:
    return {"unit": panel.unit} | ({} if panel.least is None else {"min": panel.least})


def render() -> dict[str, str]:
    """Text of every dashboard by file name."""
    return {
        f"{uid}.json": json.dumps(dashboard(uid, *content), indent=1) + "\n"
        for uid, content in DASHBOARDS.items()
    }


def main(arguments: list[str]) -> None:
    """Write the files, or with `--check` say which are not up to date."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in render().items():
        target = FOLDER / name
        if "--check" not in arguments:
            target.write_text(text)
        elif not target.is_file() or target.read_text() != text:
            raise SystemExit(f"{name} is out of date; run `make chart-docs`")


if __name__ == "__main__":
    main(sys.argv[1:])
