"""A report of the size that the bars speak of: 50 variants of one model in nine dimensions."""

from report_facts import comparison, evaluation, facts, variant

from assay_coordinator.domain.flips import Flip, FlipGroup
from assay_coordinator.domain.progress import Histogram, LayerFact
from assay_coordinator.report.assemble import assemble

DIMENSIONS = (
    "stereotype", "toxicity", "privacy", "fairness", "advglue", "ood", "adv_demonstration",
    "ethics", "utility",
)  # fmt: skip
_METHODS = ("gptq", "awq", "rtn", "magnitude", "sparsegpt", "wanda")
_BINS = 64
_FLIPS = 3  # of each comparison: what a report lists where there are so many


def _flips(variant_key, dimension):
    listed = tuple(
        Flip(
            scenario="zero_shot", sample_id=f"{dimension}-{i}", completion_index=0, kind="lost",
            verdict="answered", value=0.0, reference_verdict="answered", reference_value=1.0,
        )
        for i in range(_FLIPS)
    )  # fmt: skip
    return FlipGroup(
        variant_key=variant_key, reference_key="demo/dense/seed0", dimension=dimension,
        compared=2000, counts={"lost": 130, "gained": 90}, flips=listed,
    )  # fmt: skip


def large_report(variants=50):
    """Report data with every picture that a real study of this size has."""
    edges = tuple(-1 + 2 * i / _BINS for i in range(_BINS + 1))
    histogram = Histogram(
        module="layers.0.q_proj",
        edges=edges,
        before=tuple(1 + 37 * i % 5000 for i in range(_BINS)),
        after=tuple(1 + 91 * i % 5000 for i in range(_BINS)),
    )
    layers = tuple(LayerFact(layer=i, relative_error=0.01 * (i % 7 + 1)) for i in range(32))
    made = [variant(0, "dense", "dense", 16.0)]
    for i in range(1, variants):
        method = _METHODS[i % len(_METHODS)]
        label = f"{method}-{i}"
        made.append(variant(i, label, method, 2 + i / 5))
    for i, each in enumerate(made):
        changes = {"packed_bytes": (i + 7) << 20}
        if i:
            changes |= {"layers": layers, "histogram": histogram}
        artifact = each.artifact.model_copy(update=changes)
        made[i] = each.model_copy(update={"artifact": artifact})
    spec = facts().spec.model_copy(update={"dimensions": DIMENSIONS, "row_limit": 0})
    return assemble(
        facts(
            spec=spec,
            variants=tuple(made),
            evaluations=tuple(
                evaluation(v.key, d, 40.0 + (7 * i + 11 * j) % 50)
                for i, v in enumerate(made)
                for j, d in enumerate(DIMENSIONS)
            ),
            flips=tuple(_flips(v.key, d) for v in made[1:] for d in DIMENSIONS),
            comparisons=tuple(
                comparison(v.key, d, (5 * i + 3 * j) % 17 - 12.0, lost=9, gained=4, flip_rate=0.13)
                for i, v in enumerate(made[1:])
                for j, d in enumerate(DIMENSIONS)
            ),
        )
    )
