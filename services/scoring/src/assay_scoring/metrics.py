"""Prometheus metrics of the scoring service. Labels are of low cardinality and hold no content."""

from prometheus_client import Counter, Histogram

TEXTS = Counter(
    "assay_scoring_texts_total",
    "Texts by what became of them: scored, blank, scorer_error.",
    ("scorer", "outcome"),
)
BATCH_SECONDS = Histogram(
    "assay_scoring_message_seconds",
    "Time to score the texts of one message, waiting included.",
    ("scorer",),
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
