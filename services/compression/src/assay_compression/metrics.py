"""Prometheus metrics of the compression service, in one table."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

JOBS = Counter(
    "assay_compression_jobs_total", "Finished jobs by method and outcome.", ("method", "outcome")
)
JOB_SECONDS = Histogram(
    "assay_compression_job_seconds",
    "Wall time of jobs that succeeded, worker start included.",
    ("method",),
    buckets=(1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600),
)
QUEUED = Gauge("assay_compression_jobs_queued", "Jobs that wait for a worker.")
RUNNING = Gauge("assay_compression_jobs_running", "Jobs that run now.")
ON_DEVICE = Gauge(
    "assay_compression_device_jobs_running", "Jobs that run now, by their device.", ("device",)
)
CACHE_HITS = Counter(
    "assay_compression_cache_hits_total", "Requests answered by an existing artifact.", ("method",)
)
WORKER_DEATHS = Counter(
    "assay_compression_worker_deaths_total", "Workers that ended without a report.", ("method",)
)
