"""Ranking of variants over studies. Pure.

Scores are comparable only on the same rows, profiles and parser: an entry is a variant *on* them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from assay_coordinator.domain.progress import EvaluationStatus, VariantStatus
from assay_coordinator.domain.study import StudySpec


@dataclass(frozen=True)
class Terms:
    """What has to be equal for two scores to stand in one ranking."""

    pack_digest: str
    prompt_profile: str
    sampling_profile: str
    parser_version: str
    row_limit: int


@dataclass
class Entry:
    """A variant under certain terms."""

    model: str
    label: str
    artifact_digest: str
    packed_bytes: int
    terms: Terms
    scores: dict[str, float] = field(default_factory=dict)
    study_ids: list[str] = field(default_factory=list)
    value: float = 0.0
    rank: int = 0


@dataclass(frozen=True)
class Evaluated:
    """A study's part in a ranking."""

    study_id: str
    spec: StudySpec
    variants: Sequence[VariantStatus]
    evaluations: Sequence[EvaluationStatus]


def rank(studies: Iterable[Evaluated], dimension: str = "") -> list[Entry]:
    """Entries, best first.

    Args:
        studies: Newest first; the newest score of a variant under the same terms counts.
        dimension: Rank by this dimension; empty: by the mean of an entry's dimensions, entries with
            more dimensions first, because a mean of other things is not the same mean.
    """
    entries: dict[tuple[str, Terms], Entry] = {}
    for study in studies:
        variants = {variant.key: variant for variant in study.variants}
        for evaluation in study.evaluations:
            variant = variants.get(evaluation.variant_key)
            score = evaluation.score(study.spec.main_parser)
            if variant is None or variant.artifact is None or score is None or score.value is None:
                continue
            if evaluation.stopped_early:
                continue  # its rows are its own
            spec = study.spec
            terms = Terms(
                evaluation.pack_digest, spec.prompts_asked, spec.sampling_profile,
                spec.main_parser, spec.row_limit,
            )  # fmt: skip
            artifact = variant.artifact
            fresh = Entry(
                variant.model_uri, variant.label, artifact.digest, artifact.packed_bytes, terms
            )
            entry = entries.setdefault((artifact.digest, terms), fresh)
            if evaluation.dimension not in entry.scores:
                entry.scores[evaluation.dimension] = score.value
                if study.study_id not in entry.study_ids:
                    entry.study_ids.append(study.study_id)
    kept = [entry for entry in entries.values() if not dimension or dimension in entry.scores]
    for entry in kept:
        scores = entry.scores
        entry.value = scores[dimension] if dimension else sum(scores.values()) / len(scores)
    kept.sort(key=lambda e: (0 if dimension else -len(e.scores), -e.value, e.artifact_digest))
    for position, entry in enumerate(kept, start=1):
        entry.rank = position
    return kept
