"""Plans of one dimension and the scores of what is stored of them; knows no record and no lease."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from assay_core.storage import ObjectStore
from assay_evaluators import metrics
from assay_evaluators.scorers.registry import Scorers
from assay_evaluators.sdk.dimension import Dimension, Metric, ParserVersion
from assay_evaluators.sdk.plan import Plan, make_plan
from assay_evaluators.sdk.replaying import Pair, pair_replays
from assay_evaluators.sdk.scoring import StoredScore, score_plan
from assay_evaluators.sdk.shards import GenerationStore
from assay_evaluators.sdk.spec import Spec
from assay_evaluators.sdk.text_scores import score_missing
from assay_evaluators.sdk.work import count_missing
from assay_evaluators.service.examples import Page, Query, read_page, require_display
from assay_evaluators.service.meter import Meter
from assay_evaluators.service.pack_access import PackAccess


class Scoring:
    """What can be done with stored generations of a dimension.

    Args:
        dimension: The dimension.
        packs: Where packs are opened.
        store: Object store of generations and scores.
        scorers: Classifiers, for dimensions that need one.
    """

    def __init__(
        self, dimension: Dimension, packs: PackAccess, store: ObjectStore, scorers: Scorers
    ) -> None:
        self.dimension = dimension
        self._packs = packs
        self._store = store
        self._scorers = scorers

    async def plan(self, spec: Spec) -> tuple[Plan, dict[str, int]]:
        """A plan, and its missing completions by scenario."""
        return await asyncio.to_thread(self._plan_and_count, spec)

    async def score(
        self, plan: Plan, parsers: Sequence[ParserVersion], meter: Meter
    ) -> dict[str, Any]:
        """Scores by every parser asked for and every metric there is, as a record keeps them."""
        for metric in self._metrics(plan):
            if metric.scorer:
                for parser in parsers:
                    await self._score_texts(plan, parser, metric, meter)
        return await asyncio.to_thread(self._score, plan, parsers)

    async def rescore(self, spec: Spec, parser: str, metric: str) -> dict[str, Any]:
        """Scores stored generations with another parser or metric.

        Raises:
            FailedPrecondition: If completions are missing.
        """
        version, formula = self.dimension.parser(parser), self.dimension.metric(metric)
        plan, missing = await self.plan(spec)
        if formula.scorer and not any(missing.values()):
            await self._score_texts(plan, version, formula)
        return _stored(await asyncio.to_thread(score_plan, plan, self._store, version, formula))

    async def examples(self, spec: Spec, parser: ParserVersion, query: Query) -> Page:
        """A page of samples with their text and a parser's verdict.

        Raises:
            PermissionDenied: If the texts may not be shown.
        """
        return await asyncio.to_thread(self._examples, spec, parser, query)

    async def pairs(self, variant: Spec, reference: Spec, parser: ParserVersion) -> list[Pair]:
        """Two replays, prompt by prompt, without text.

        Raises:
            FailedPrecondition: If they replay different prompts.
        """
        ours, theirs = [(await self.plan(spec))[0] for spec in (variant, reference)]
        return await asyncio.to_thread(pair_replays, ours, theirs, self._store, parser)

    def exist(self, scores: Sequence[Mapping[str, Any]]) -> bool:
        """Whether stored scores are where they were put. Blocks."""
        uris = [score[key] for score in scores for key in ("score_uri", "verdicts_uri")]
        return all(self._store.exists(uri) for uri in uris)

    async def _score_texts(
        self, plan: Plan, parser: ParserVersion, metric: Metric, meter: Meter | None = None
    ) -> None:
        """Has the metric's classifier score what it has not scored yet; stored batch by batch."""
        if parser.scored_text is None:
            raise TypeError(f"{metric.id} has a scorer, {parser.version} says no text for it")
        scorer = self._scorers.get(metric.scorer)
        text_of = parser.scored_text(plan.prompts)
        scored = 0

        async def count(texts: int) -> None:
            nonlocal scored
            scored += texts
            metrics.TEXTS_SCORED.labels(scorer.id).inc(texts)
            if meter is not None:
                await meter.show(f"scoring: {scored:,} texts by {scorer.id}")

        await score_missing(plan, self._store, text_of, scorer, count)

    def _plan_and_count(self, spec: Spec) -> tuple[Plan, dict[str, int]]:
        pack = self._packs.open(spec.pack_uri, spec.pack_digest)
        plan = make_plan(self.dimension, pack, spec)
        return plan, count_missing(plan, self._store)

    def _metrics(self, plan: Plan) -> list[Metric]:
        """The default metric and every other one whose scenarios were planned."""
        planned = {scenario.name for scenario in plan.scenarios}
        default = self.dimension.default_metric
        others = self.dimension.metrics[1:]
        return [default, *(m for m in others if planned.issuperset(m.scenarios))]

    def _score(self, plan: Plan, parsers: Sequence[ParserVersion]) -> dict[str, Any]:
        """Scores by every parser asked for and every metric there is."""
        scores = []
        for parser in parsers:
            for metric in self._metrics(plan):
                with metrics.SCORE_SECONDS.time():
                    scores.append(_stored(score_plan(plan, self._store, parser, metric)))
        return {
            "scores": scores,
            "complete": plan.is_complete,
            "generations": [
                {
                    "scenario": scenario.name,
                    "digest": scenario.generation_digest,
                    "uri": GenerationStore(self._store, scenario.generation_digest).uri,
                    "completions": scenario.completions,
                }
                for scenario in plan.scenarios
                if scenario.identity is not None
            ],
        }

    def _examples(self, spec: Spec, parser: ParserVersion, query: Query) -> Page:
        pack = self._packs.open(spec.pack_uri, spec.pack_digest)
        require_display(self.dimension, pack)
        return read_page(make_plan(self.dimension, pack, spec), self._store, parser, query)


def _stored(score: StoredScore) -> dict[str, Any]:
    return {
        "document": score.document,
        "score_uri": score.score_uri,
        "verdicts_uri": score.verdicts_uri,
    }
