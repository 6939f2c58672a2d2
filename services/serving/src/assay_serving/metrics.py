"""Prometheus metrics of the serving service, declared in one table.

Labels have few values: ids, digests and projects never become labels.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_LOAD_BUCKETS = (0.05, 0.1, 0.5, 1, 2, 5, 10, 20, 40, 60, 90, 120, 180, 300, 600)
_LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

LOADS = Counter(
    "assay_serving_loads_total",
    "Artifacts made resident, by how (started, swapped, failed).",
    ("how",),
)
LOAD_SECONDS = Histogram(
    "assay_serving_load_seconds",
    "Time of an engine start or swap.",
    ("how",),
    buckets=_LOAD_BUCKETS,
)
ENGINE_DEATHS = Counter("assay_serving_engine_deaths_total", "Engines that ended unexpectedly.")
RECONCILED = Counter(
    "assay_serving_reconciled_total",
    "Wanted models that were lost, by what became of it (loading, backing_off, given_up).",
    ("outcome",),
)
ENGINES = Gauge("assay_serving_engines", "Engines running now.")
LEASES = Gauge("assay_serving_leases", "Leases held now.")
QUEUED = Gauge(
    "assay_serving_load_queue", "Load requests that wait for their turn or are being loaded."
)
WANTED = Gauge("assay_serving_wanted_models", "Models that are to stay, there or not.")
IN_FLIGHT = Gauge("assay_serving_in_flight_completions", "Completions in the engines now.")
WAITING = Gauge("assay_serving_waiting_batches", "Batches that wait for room in an engine.")
COMPLETIONS = Counter(
    "assay_serving_completions_total", "Completions answered, by outcome.", ("outcome",)
)
PROMPT_TOKENS = Counter(
    "assay_serving_prompt_tokens_total", "Prompt tokens of answered completions."
)
CACHED_PROMPT_TOKENS = Counter(
    "assay_serving_cached_prompt_tokens_total",
    "Prompt tokens that the prefix cache had; divided by all prompt tokens: its hit ratio.",
)
COMPLETION_TOKENS = Counter("assay_serving_completion_tokens_total", "Tokens generated.")
FIRST_TOKEN_SECONDS = Histogram(
    "assay_serving_first_token_seconds",
    "From a batch's arrival to its first token, of batches that are streamed token by token.",
    buckets=_LATENCY_BUCKETS,
)
FIRST_RESULT_SECONDS = Histogram(
    "assay_serving_first_result_seconds",
    "From a batch's arrival to its first finished completion.",
    buckets=_LATENCY_BUCKETS,
)
HTTP_REQUESTS = Counter(
    "assay_serving_http_requests_total",
    "Requests of the OpenAI-compatible door, by endpoint and HTTP status.",
    ("endpoint", "status"),
)
