"""Two replays of the same prompts side by side: what may leave an evaluator, which is no text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from assay_core.errors import FailedPrecondition
from assay_core.storage import ObjectStore
from assay_core.verdicts import Verdict
from assay_evaluators.sdk.dimension import ParserVersion
from assay_evaluators.sdk.judging import Judge
from assay_evaluators.sdk.plan import Plan, PlannedScenario
from assay_evaluators.sdk.shards import OVERLENGTH, Completion, GenerationStore
from assay_evaluators.sdk.text import Cleaner
from assay_evaluators.sdk.text_scores import TextScoreStore
from assay_evaluators.sdk.types import Sample

_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Replayed:
    """One side of a pair; see `ReplayedPrompt` in evaluation.proto."""

    verdict: str
    toxicity: float | None
    prompt_tokens: int
    completion_tokens: int
    segment: int
    arrival_seconds: float
    latency_seconds: float


@dataclass(frozen=True)
class Pair:
    """One prompt as both sides answered it; see `ReplayPair` in evaluation.proto."""

    sample_id: str
    cluster_id: str
    same: bool
    similarity: float
    variant: Replayed
    reference: Replayed


def pair_replays(
    variant: Plan, reference: Plan, store: ObjectStore, parser: ParserVersion
) -> list[Pair]:
    """Pairs in the order of the prompts. Blocks.

    Raises:
        FailedPrecondition: If the two plans are not of the same prompts.
        DataLoss: If a shard cannot be read.
    """
    pairs: list[Pair] = []
    cut = Cleaner(variant.prompts).cut
    for ours, theirs in zip(variant.scenarios, reference.scenarios, strict=True):
        if ours.samples != theirs.samples:
            raise FailedPrecondition(
                "the two evaluations replay different prompts",
                reason="PAIRS_FROM_DIFFERENT_PACKS",
                remedy="replay the same file with the same seed and row limit",
            )
        left = _Side(variant, ours, store, parser)
        right = _Side(reference, theirs, store, parser)
        pairs += [_pair(sample, left, right, cut) for sample in ours.samples]
    return pairs


def similarity(text: str, other: str) -> float:
    """F1 of the words two texts share (Rajpurkar et al. 2016, section 6.1), case left aside.

    Two texts without a word are alike, and one without is like no other.
    """
    words, others = (Counter(_WORD.findall(each.lower())) for each in (text, other))
    total = words.total() + others.total()
    return 2 * (words & others).total() / total if total else 1.0


class _Side:
    """The stored completions of one side, by sample."""

    def __init__(
        self, plan: Plan, scenario: PlannedScenario, store: ObjectStore, parser: ParserVersion
    ) -> None:
        digest = scenario.generation_digest
        scorer = plan.dimension.default_metric.scorer
        scores = TextScoreStore(store, scorer, digest).read() if scorer else None
        self._judge = Judge(parser, plan.prompts, scores)
        self._found = dict(_first(GenerationStore(store, digest).completions()))
        begun = sorted({each.segment or 0.0 for each in self._found.values()})
        self._segments = {segment: index for index, segment in enumerate(begun)}

    def text(self, sample: Sample) -> str:
        """What the model wrote."""
        return self._completion(sample).text

    def replayed(self, sample: Sample) -> Replayed:
        """What is said of it."""
        completion = self._completion(sample)
        verdict, toxicity = Verdict.OVERLENGTH, None
        if completion.finish_reason != OVERLENGTH:
            outcome = self._judge(completion.text, sample, 0)
            verdict, toxicity = outcome.parsed.verdict, outcome.value
        return Replayed(
            verdict=verdict.value,
            toxicity=toxicity,
            prompt_tokens=completion.prompt_tokens,
            completion_tokens=completion.completion_tokens,
            segment=self._segments[completion.segment or 0.0],
            arrival_seconds=completion.arrival or 0.0,
            latency_seconds=completion.latency or 0.0,
        )

    def _completion(self, sample: Sample) -> Completion:
        found = self._found.get(sample.id)
        if found is None:
            raise FailedPrecondition(
                "completions of a replay are missing",
                reason="GENERATIONS_INCOMPLETE",
                remedy="run the evaluation to its end first",
            )
        return found


def _first(completions: Iterator[Completion]) -> Iterator[tuple[str, Completion]]:
    return ((each.sample_id, each) for each in completions if each.completion_index == 0)


def _pair(sample: Sample, ours: _Side, theirs: _Side, cut: Callable[[str], str]) -> Pair:
    text, other = cut(ours.text(sample)), cut(theirs.text(sample))
    return Pair(
        sample_id=sample.id,
        cluster_id=sample.cluster_id,
        same=text == other,
        similarity=similarity(text, other),
        variant=ours.replayed(sample),
        reference=theirs.replayed(sample),
    )
