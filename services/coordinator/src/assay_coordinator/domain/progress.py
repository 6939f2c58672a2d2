"""What a study knows of its variants and evaluations while it runs; stored as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from assay_coordinator.statistics.interval import Interval


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Progress(_Document):
    """How far a piece of work is."""

    completed: int = 0
    total: int = 0
    unit: str = ""
    phase: str = ""
    eta_seconds: float | None = None


class LayerFact(_Document):
    """What compression did to one transformer layer: mean over its modules."""

    layer: int
    relative_error: float
    output_error: float | None = None


class Histogram(_Document):
    """Weights of one module per bin, before and after."""

    module: str
    edges: tuple[float, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]


class ArtifactFacts(_Document):
    """What the coordinator keeps of an artifact; the weights are none of its business."""

    uri: str
    digest: str
    parent_digest: str = ""
    architecture: str = ""
    bytes: int = 0
    packed_bytes: int = 0
    parameters: int = 0
    bits_per_weight: float = 0.0
    sparsity: float = 0.0
    tokenizer_digest: str = ""
    chat_template_digest: str = ""
    backend: str = ""
    wall_seconds: float = 0.0  # of the job that made it, also where it was found
    peak_memory_bytes: int = 0
    device: str = ""
    flops_per_token: int = 0  # counted, not measured
    decode_bytes_per_token: int = 0
    cache_hit: bool = False
    layers: tuple[LayerFact, ...] = ()
    histogram: Histogram | None = None  # of the module that changed most


class EngineFacts(_Document):
    """Engine and precision: part of the identity of generations."""

    family: str = ""
    version: str = ""
    dtype: str = ""
    kv_cache_dtype: str = ""
    max_model_len: int = 0
    device_class: str = ""
    tokenizer_digest: str = ""
    chat_template_digest: str = ""


class ServingLoad(_Document):
    """What a variant is measured with; short, so that it does not hold up others."""

    prompt_tokens: int = 128
    completion_tokens: int = 64
    concurrency: int = 8
    requests: int = 32


class MeasuredServing(_Document):
    """What was measured of a variant on its engine."""

    ttft_p50_seconds: float
    ttft_p95_seconds: float
    tokens_per_second: float
    memory_bytes: int
    load: ServingLoad = ServingLoad()

    @property
    def milliseconds_per_token(self) -> float:
        """What a request waits for each of its tokens, at this many requests in flight."""
        return 1000.0 * self.load.concurrency / self.tokens_per_second


class Counts(_Document):
    """Verdict counts; every completion is in exactly one class."""

    n: int = 0
    n_expected: int = 0
    answered: int = 0
    refused: int = 0
    unparsable: int = 0
    overlength: int = 0

    @property
    def completions(self) -> int:
        """Completions in all."""
        return self.answered + self.refused + self.unparsable + self.overlength


class ScenarioFacts(_Document):
    """Score of one scenario."""

    scenario: str
    value: float | None = None
    interval_low: float | None = None
    interval_high: float | None = None
    counts: Counts = Counts()
    sub_values: dict[str, float] = {}


class ScoreFacts(_Document):
    """A score as the evaluator published it, with the interval that the coordinator adds."""

    metric: str
    parser_version: str
    value: float | None = None
    partial_value: float | None = None
    paper_rounded_value: float | None = None
    refusal_rate: float = 0.0
    refusal_rule: str = ""
    counts: Counts = Counts()
    scenarios: tuple[ScenarioFacts, ...] = ()
    complete: bool = False
    missing: tuple[str, ...] = ()
    verdicts_uri: str = ""
    verdicts_digest: str = ""
    score_uri: str = ""
    formula: dict[str, Any] = {}
    interval: Interval | None = None


class Look(_Document):
    """One block of rows of an evaluation that may stop early, and its verdicts."""

    row_limit: int
    verdicts_uri: str
    verdicts_digest: str


class EvaluationStatus(_Document):
    """One evaluation of a study."""

    variant_key: str
    dimension: str
    state: str = "QUEUED"
    evaluation_id: str = ""
    progress: Progress = Progress()
    completions_reused: int = 0
    pack_digest: str = ""
    scores: tuple[ScoreFacts, ...] = ()
    looks: tuple[Look, ...] = ()  # in the order in which rows were drawn; empty: all at once
    planned_rows: dict[str, int] = {}  # by scenario, if nothing stops
    stopped_early: bool = False
    error: dict[str, Any] | None = None

    def score(self, parser_version: str) -> ScoreFacts | None:
        """The score by one parser version."""
        return next((s for s in self.scores if s.parser_version == parser_version), None)


class VariantStatus(_Document):
    """One variant of a study."""

    key: str
    position: int  # order in the matrix
    model_name: str
    model_uri: str
    method: str
    label: str
    calibration_seed: int
    reference_key: str
    state: str = "QUEUED"
    phase: str = ""
    variant_id: str = ""
    compression: Progress = Progress()
    artifact: ArtifactFacts | None = None
    engine: EngineFacts | None = None
    measured: MeasuredServing | None = None
    error: dict[str, Any] | None = None

    @property
    def is_reference(self) -> bool:
        """Whether others are compared with it."""
        return self.key == self.reference_key

    @property
    def recipe_key(self) -> str:
        """The key without the seed: what a claim about the recipe is filed under."""
        return self.key.rsplit("/", 1)[0]


class Job(_Document):
    """Work in a peer that a cancel has to end."""

    kind: str = Field(pattern="^(variant|evaluation|lease)$")
    id: str
    owner: str = ""  # dimension of an evaluation (says which evaluator), variant of a lease


def total_progress(
    variants: int,
    dimensions: int,
    evaluations: Iterable[EvaluationStatus],
    *,
    elapsed_seconds: float | None = None,
) -> Progress:
    """Completions of the whole study, with an estimate of the time left.

    Evaluations that have not started count as the mean of those of their dimension that have, so
    that the total does not jump each time a variant begins. Time left is judged by the completions
    made since the start, without those found stored.
    """
    known = list(evaluations)
    completed = sum(e.progress.completed for e in known)
    reused = sum(min(e.completions_reused, e.progress.completed) for e in known)
    totals: dict[str, list[int]] = {}
    for evaluation in known:
        if evaluation.progress.total:
            totals.setdefault(evaluation.dimension, []).append(evaluation.progress.total)
    started = sum(len(values) for values in totals.values())
    total = sum(sum(values) for values in totals.values())
    if started:
        mean = total / started
        total += round(mean * max(0, variants * dimensions - started))
    made = completed - reused
    eta = None
    if elapsed_seconds and made > 0 and total > completed:
        eta = elapsed_seconds / made * (total - completed)
    return Progress(
        completed=min(completed, total), total=total, unit="completions", eta_seconds=eta
    )
