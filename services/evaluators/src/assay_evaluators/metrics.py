"""Prometheus metrics of an evaluator. Labels are of low cardinality and hold no content."""

from prometheus_client import Counter, Gauge, Histogram

IN_FLIGHT = Gauge(
    "assay_evaluator_completions_in_flight", "Completions asked of serving and not yet back."
)
COMPLETIONS_STORED = Counter(
    "assay_evaluator_completions_stored_total", "Completions written to shards."
)
COMPLETION_TOKENS = Counter(
    "assay_evaluator_completion_tokens_total", "Tokens of completions received."
)
TEXTS_SCORED = Counter(
    "assay_evaluator_texts_scored_total", "Texts that a classifier scored, by scorer.", ("scorer",)
)
EVALUATIONS_ENDED = Counter(
    "assay_evaluator_evaluations_total", "Evaluations by the state they reached.", ("state",)
)
SCORE_SECONDS = Histogram(
    "assay_evaluator_score_seconds",
    "Time to parse and score one evaluation with one parser.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
