"""Evaluations as durable work: created once, resumed after any loss, never lost.

State machine: QUEUED -> RUNNING -> SUCCEEDED | FAILED; WAITING_FOR_MODEL when completions are
missing and no lease is good, left by a CreateEvaluation of the same content with a new lease. What
is generated lies in shards, so every (re)start computes what is still missing.
"""

from __future__ import annotations

import asyncio
import errno
from dataclasses import dataclass
from typing import Any

from assay_core.digest import digest_of
from assay_core.errors import AssayError, FailedPrecondition, Internal, ResourceExhausted
from assay_core.logs import exception_facts, get_logger
from assay_core.resources import Draft, Record, ResourceStore, State
from assay_core.storage import ObjectStore
from assay_evaluators import metrics
from assay_evaluators.scorers.registry import Scorers
from assay_evaluators.sdk.dimension import Dimension, Metric, ParserVersion
from assay_evaluators.sdk.generate import Generator, Lease, ModelGoneError
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

_LOG = get_logger("assay.evaluations")
_ACTIVE = frozenset({State.QUEUED, State.RUNNING, State.WAITING_FOR_MODEL})


@dataclass(frozen=True)
class Creation:
    """A request to evaluate, with everything resolved."""

    project: str
    request_id: str
    spec: Spec
    parser_versions: tuple[str, ...]
    lease: Lease | None


class Evaluations:
    """The evaluations of one dimension.

    Args:
        dimension: The dimension.
        packs: Where packs are opened.
        store: Object store of generations and scores.
        records: Durable records.
        generator: Client of serving.
        scorers: Classifiers, for dimensions that need one.
        at_once: Evaluations that run at a time.
    """

    def __init__(
        self,
        dimension: Dimension,
        *,
        packs: PackAccess,
        store: ObjectStore,
        records: ResourceStore,
        generator: Generator,
        scorers: Scorers,
        at_once: int,
    ) -> None:
        self.dimension = dimension
        self.records = records
        self._packs = packs
        self._store = store
        self._generator = generator
        self._scorers = scorers
        self._slots = asyncio.Semaphore(at_once)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._stopping = False
        # Leases are handed over and given up under this lock, so that none is overlooked.
        self._leases = asyncio.Lock()

    # -- life of the process ---------------------------------------------------------------------

    async def start(self) -> None:
        """Takes up what an earlier process left; ends what it was cancelling."""
        async for record in self.records.every(None):
            if record.state is State.CANCELLING:
                await self.records.update(record.id, state=State.CANCELLED)
            elif record.state in _ACTIVE and record.spec["evaluation"]["dimension"] == (
                self.dimension.name
            ):
                self._launch(record.id)

    async def stop(self) -> None:
        """Hands work back: flushes what has arrived; records stay for the next process."""
        self._stopping = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- requests --------------------------------------------------------------------------------

    async def plan(self, spec: Spec) -> tuple[Plan, dict[str, int]]:
        """A plan, and its missing completions by scenario."""
        return await asyncio.to_thread(self._plan_and_count, spec)

    async def create(self, creation: Creation) -> Record:
        """Creates an evaluation or returns the one that exists, with its newest lease.

        An evaluation that failed or was cancelled starts again with what it has stored.
        """
        content = {
            "spec": creation.spec.content(),
            "parser_versions": list(creation.parser_versions),
        }
        fingerprint = digest_of(content)
        request_id = creation.request_id or fingerprint
        identity = digest_of([creation.project, request_id, fingerprint])
        draft = Draft(
            id=f"{self.dimension.name}-{identity.removeprefix('sha256:')[:20]}",
            project=creation.project,
            request_id=request_id,
            fingerprint=fingerprint,
            spec={
                "evaluation": creation.spec.document(),
                "parser_versions": list(creation.parser_versions),
            },
            status=_lease_status(creation.lease),
        )
        record, created = await self.records.create(draft)
        if not created:
            record = await self._take_up(record, creation.lease)
        if record.state in (State.QUEUED, State.RUNNING):
            self._launch(record.id)
        return record

    async def cancel(self, evaluation_id: str) -> Record:
        """Ends an evaluation; what is stored is kept. Does nothing to one that has ended."""
        record = await self.records.get(evaluation_id)
        if record.is_terminal or record.state is State.CANCELLING:
            return record
        task = self._tasks.get(evaluation_id)
        await self.records.update(evaluation_id, state=State.CANCELLING, expect=_ACTIVE)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return await self._end(evaluation_id, State.CANCELLED)

    async def rescore(self, evaluation_id: str, parser: str, metric: str) -> dict[str, Any]:
        """Scores stored generations with another parser or metric. Needs no model.

        Raises:
            FailedPrecondition: If completions are missing.
        """
        record = await self.records.get(evaluation_id)
        spec = Spec.model_validate(record.spec["evaluation"])
        version, formula = self.dimension.parser(parser), self.dimension.metric(metric)
        plan, missing = await self.plan(spec)
        if formula.scorer and not any(missing.values()):
            await self._score_texts(plan, version, formula)
        return _stored(await asyncio.to_thread(score_plan, plan, self._store, version, formula))

    async def examples(self, evaluation_id: str, query: Query) -> Page:
        """A page of samples with their text and the main parser's verdict.

        Raises:
            PermissionDenied: If the texts may not be shown.
        """
        record = await self.records.get(evaluation_id)
        spec = Spec.model_validate(record.spec["evaluation"])
        parser = self.dimension.parser(record.spec["parser_versions"][0])
        return await asyncio.to_thread(self._examples, spec, parser, query)

    async def pairs(self, evaluation_id: str, reference_id: str) -> list[Pair]:
        """Two evaluations of a replay, prompt by prompt, without text.

        Raises:
            FailedPrecondition: If one has not ended well, or they replay different prompts.
        """
        plans, versions = [], []
        for each in (evaluation_id, reference_id):
            record = await self.records.get(each)
            if record.state is not State.SUCCEEDED or not self.dimension.replays:
                raise FailedPrecondition(
                    f"evaluation {each} is no replay that has ended well",
                    reason="NOT_A_REPLAY",
                    remedy="name evaluations of the dimension `canary` that SUCCEEDED",
                    metadata={"state": record.state.value},
                )
            plans.append((await self.plan(Spec.model_validate(record.spec["evaluation"])))[0])
            versions.append(record.spec["parser_versions"][0])
        variant, reference = plans
        parser = self.dimension.parser(versions[0])
        return await asyncio.to_thread(pair_replays, variant, reference, self._store, parser)

    # -- one evaluation --------------------------------------------------------------------------

    def _launch(self, evaluation_id: str) -> None:
        """Starts an evaluation's task; one that is just ending is started again after its end.

        A start too many does no harm: a task begins by asking the record whether it is needed.
        """
        if evaluation_id in self._tasks:
            self._again.add(evaluation_id)
            return
        task = asyncio.create_task(self._run(evaluation_id), name=evaluation_id)
        self._tasks[evaluation_id] = task
        task.add_done_callback(lambda _: self._ended(evaluation_id))

    def _ended(self, evaluation_id: str) -> None:
        del self._tasks[evaluation_id]
        if evaluation_id in self._again and not self._stopping:
            self._again.discard(evaluation_id)
            self._launch(evaluation_id)

    async def _run(self, evaluation_id: str) -> None:
        try:
            async with self._slots:
                record = await self.records.get(evaluation_id)
                if record.state in _ACTIVE:
                    await self._evaluate(evaluation_id)
        except AssayError as error:
            await self._end(evaluation_id, State.FAILED, error)
        except OSError as error:
            await self._end(evaluation_id, State.FAILED, _storage_error(error))
        except Exception as error:  # noqa: BLE001 (a defect must reach the record, not vanish)
            _LOG.error("evaluation_defect", evaluation=evaluation_id, **exception_facts(error))
            await self._end(evaluation_id, State.FAILED, Internal("the evaluation failed"))

    async def _evaluate(self, evaluation_id: str) -> None:
        record = await self.records.update(evaluation_id, state=State.RUNNING, expect=_ACTIVE)
        spec = Spec.model_validate(record.spec["evaluation"])
        plan, missing = await self.plan(spec)
        done = plan.completions - sum(missing.values())
        meter = Meter(self.records, evaluation_id, done, plan.completions)
        await meter.show("generating")
        if sum(missing.values()) and not await self._generate(evaluation_id, plan, meter):
            return
        await meter.show("scoring")
        parsers = [self.dimension.parser(name) for name in record.spec["parser_versions"]]
        for metric in self._metrics(plan):
            if metric.scorer:
                for parser in parsers:
                    await self._score_texts(plan, parser, metric, meter)
        status = await asyncio.to_thread(self._score, plan, parsers)
        await self.records.update(
            evaluation_id,
            state=State.SUCCEEDED,
            status=status,
            progress=meter.progress("done"),
            expect=_ACTIVE,
        )
        metrics.EVALUATIONS_ENDED.labels(State.SUCCEEDED).inc()

    async def _generate(self, evaluation_id: str, plan: Plan, meter: Meter) -> bool:
        """Generates with the newest lease; False if the evaluation now waits for another one."""
        used: str | None = None
        while True:
            async with self._leases:
                lease = _lease_of(await self.records.get(evaluation_id))
                if lease is None or lease.id == used:
                    await self.records.update(
                        evaluation_id,
                        state=State.WAITING_FOR_MODEL,
                        progress=meter.progress("waiting for a model lease"),
                        expect=_ACTIVE,
                    )
                    metrics.EVALUATIONS_ENDED.labels(State.WAITING_FOR_MODEL).inc()
                    return False
            used = lease.id
            try:
                await self._generator.run(plan, lease, meter.add)
            except ModelGoneError as gone:
                _LOG.info("model_gone", evaluation=evaluation_id, reason=gone.cause.reason)
            else:
                return True

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

    async def _take_up(self, record: Record, lease: Lease | None) -> Record:
        """Gives an existing evaluation a newer lease and starts it again if it stands still."""
        async with self._leases:
            if lease is not None and record.status.get("lease") != _lease_status(lease)["lease"]:
                record = await self.records.update(record.id, status=_lease_status(lease))
            again = record.state in (State.FAILED, State.CANCELLED)
            woken = record.state is State.WAITING_FOR_MODEL and lease is not None
            lost = record.state is State.SUCCEEDED and not await asyncio.to_thread(
                self._scores_exist, record
            )
            if again or woken or lost:
                return await self.records.update(record.id, state=State.QUEUED)
            return record

    async def _end(
        self, evaluation_id: str, state: State, error: AssayError | None = None
    ) -> Record:
        record = await self.records.get(evaluation_id)
        if record.is_terminal or (record.state is State.CANCELLING and state is State.FAILED):
            return record
        metrics.EVALUATIONS_ENDED.labels(state).inc()
        return await self.records.update(evaluation_id, state=state, error=error)

    # -- blocking work, on threads ---------------------------------------------------------------

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

    def _score(self, plan: Plan, parsers: list[ParserVersion]) -> dict[str, Any]:
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

    def _scores_exist(self, record: Record) -> bool:
        scores = record.status.get("scores", ())
        uris = [score[key] for score in scores for key in ("score_uri", "verdicts_uri")]
        return all(self._store.exists(uri) for uri in uris)


def _stored(score: StoredScore) -> dict[str, Any]:
    return {
        "document": score.document,
        "score_uri": score.score_uri,
        "verdicts_uri": score.verdicts_uri,
    }


def _lease_status(lease: Lease | None) -> dict[str, Any]:
    if lease is None:
        return {}
    return {"lease": {"id": lease.id, "artifact_digest": lease.artifact_digest}}


def _lease_of(record: Record) -> Lease | None:
    stored = record.status.get("lease")
    return Lease(**stored) if stored else None


def _storage_error(error: OSError) -> AssayError:
    """A failed write or read of the object store. What is stored already is kept."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceExhausted(
            "the object store has no space left",
            reason="STORAGE_FULL",
            remedy="free space, then create the evaluation again; it resumes from its shards",
        )
    return FailedPrecondition(
        f"the object store failed ({errno.errorcode.get(error.errno or 0, 'unknown error')})",
        reason="STORAGE_FAILED",
        remedy="check data_uri, then create the evaluation again; it resumes from its shards",
    )
