"""An evaluator that keeps its side of the contract; see `fake_peers`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fake_parts import Gate, S, digest, watch
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from assay_core import verdicts
from assay_core.digest import sha256_bytes
from assay_core.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from assay_core.pb import (
    evaluation_pb2,
    evaluation_pb2_grpc,
    serving_pb2,
)
from assay_core.storage import ObjectStore

if TYPE_CHECKING:
    from fake_peers import FakeServing


@dataclass
class Scenario:
    name: str
    samples: int = 60


@dataclass
class FakeEvaluator(evaluation_pb2_grpc.EvaluationServiceServicer):
    dimension: str
    serving: FakeServing
    data: ObjectStore
    accuracy: dict[str, float] = field(default_factory=dict)  # by artifact digest
    scenarios: tuple[Scenario, ...] = (Scenario("zero_shot"), Scenario("few_shot"))
    gate: Gate = field(default_factory=Gate)
    broken: str = ""
    display: bool = True
    stored: dict[str, set[tuple[str, int]]] = field(default_factory=dict)
    asked: int = 0  # requests of any kind
    generated: list[tuple[str, str, int]] = field(default_factory=list)
    evaluations: dict[str, evaluation_pb2.Evaluation] = field(default_factory=dict)
    by_request: dict[str, str] = field(default_factory=dict)
    leases: dict[str, str] = field(default_factory=dict)
    tasks: dict[str, asyncio.Task] = field(default_factory=dict)

    def _rows(self, spec):
        for scenario in self.scenarios:
            count = min(scenario.samples, spec.row_limit or scenario.samples)
            for index in range(count):
                yield scenario.name, index

    async def DescribeDimension(self, request, context):
        versions = ("assay-2026", "ct-2024-02", "dt-2024-09")
        return evaluation_pb2.DescribeDimensionResponse(
            dimension=self.dimension,
            parsers=[evaluation_pb2.ParserDescription(version=version) for version in versions],
        )

    async def PlanEvaluation(self, request, context):
        self.asked += 1
        if self.broken:
            raise InvalidArgument.of(self.broken, "field text: missing", remedy="correct the row")
        rows = list(self._rows(request.spec))
        have = self.stored.get(request.spec.subject.artifact_digest, set())
        stored = sum(row in have for row in rows)
        return evaluation_pb2.PlanEvaluationResponse(
            scenarios=[
                evaluation_pb2.ScenarioPlan(
                    scenario=scenario.name,
                    samples=min(scenario.samples, request.spec.row_limit or scenario.samples),
                    samples_expected=scenario.samples,
                )
                for scenario in self.scenarios
            ],
            completions_stored=stored,
            completions_missing=len(rows) - stored,
            pack_digest=digest("pack"),
            complete=True,
        )

    async def CreateEvaluation(self, request, context):
        self.asked += 1
        known = self.by_request.get(request.request_id)
        if known is None:
            known = f"{self.dimension}-{len(self.evaluations)}"
            evaluation = evaluation_pb2.Evaluation(
                spec=request.spec, parser_versions=request.parser_versions
            )
            evaluation.meta.id, evaluation.meta.state = known, S.STATE_QUEUED
            self.evaluations[known] = evaluation
            self.by_request[request.request_id] = known
            self.tasks[known] = asyncio.create_task(self._run(evaluation))
        if request.lease.id:
            self.leases[known] = request.lease.id
        return evaluation_pb2.CreateEvaluationResponse(evaluation=self.evaluations[known])

    async def ListExamples(self, request, context):
        self.asked += 1
        if not self.display:
            raise PermissionDenied("the data pack does not allow its texts to be shown")
        evaluation = self.evaluations[request.id]
        artifact = evaluation.spec.subject.artifact_digest
        rows = [
            evaluation_pb2.Example(
                scenario=scenario, sample_id=f"s{index}", text=f"answer of {artifact}",
                messages=[serving_pb2.ChatMessage(role="user", content=f"question {index}")],
            )
            for scenario, index in self._rows(evaluation.spec)
            if f"s{index}" in request.sample_ids
        ]  # fmt: skip
        start = int(request.options.page_token or 0)
        end = start + 3  # small pages, so that there are several
        return evaluation_pb2.ListExamplesResponse(
            examples=rows[start:end], next_page_token=str(end) if end < len(rows) else ""
        )

    async def PairReplays(self, request, context):
        """As if `accuracy` were the share of prompts that a side answers; others it refuses."""
        sides = [self._find(id) for id in (request.id, request.reference_id)]
        assert all(side.meta.state == S.STATE_SUCCEEDED for side in sides)
        for scenario, index in self._rows(sides[0].spec):
            draw = int(digest("row", scenario, index)[7:15], 16) / 2**32
            answers = [
                draw < self.accuracy.get(side.spec.subject.artifact_digest, 0.9) for side in sides
            ]
            made = [
                evaluation_pb2.ReplayedPrompt(
                    verdict="answered" if answer else "refused", toxicity=0.1, prompt_tokens=10,
                    completion_tokens=20 if answer else 5, arrival_seconds=0.1 * index,
                    latency_seconds=0.2 + 0.01 * (index % 7),
                )
                for answer in answers
            ]  # fmt: skip
            same = answers[0] == answers[1]
            pair = evaluation_pb2.ReplayPair(
                sample_id=f"s{index}", cluster_id=f"c{index}", same=same,
                similarity=1.0 if same else 0.25, variant=made[0], reference=made[1],
            )  # fmt: skip
            yield evaluation_pb2.PairReplaysResponse(pairs=[pair])

    async def _run(self, evaluation) -> None:
        spec = evaluation.spec
        artifact = spec.subject.artifact_digest
        have = self.stored.setdefault(artifact, set())
        rows = list(self._rows(spec))
        progress = evaluation.meta.progress
        progress.total, progress.unit = len(rows), "completions"
        progress.completed = sum(row in have for row in rows)
        since_pause = 0
        for row in rows:
            if row in have:
                continue
            if progress.completed >= progress.total / 2:
                await self.gate.passed(artifact)
            while not self.serving.valid(self.leases.get(evaluation.meta.id, ""), artifact):
                evaluation.meta.state = S.STATE_WAITING_FOR_MODEL
                await asyncio.sleep(0.02)
            evaluation.meta.state = S.STATE_RUNNING
            since_pause += 1
            if since_pause % 64 == 0:
                await asyncio.sleep(0)
            have.add(row)
            self.generated.append((artifact, *row))
            progress.completed += 1
        for parser in evaluation.parser_versions:
            score = self._score(spec, parser, rows)
            # A second metric over the same rows, as adversarial demonstrations have one.
            further = evaluation_pb2.Score()
            further.CopyFrom(score)
            further.metric = f"{score.metric}@further"
            evaluation.scores.extend([score, further])
        evaluation.complete = True
        evaluation.pack_digest = digest("pack")
        evaluation.meta.state = S.STATE_SUCCEEDED

    def _score(self, spec, parser, rows):
        artifact = spec.subject.artifact_digest
        accuracy = self.accuracy.get(artifact, 0.9)
        made = []
        for scenario, index in rows:
            draw = int(digest("row", scenario, index)[7:15], 16) / 2**32
            made.append(
                verdicts.VerdictRow(
                    scenario, f"s{index}", f"c{index}", 0, verdicts.Verdict.ANSWERED,
                    float(draw < accuracy), None, None, 10, 3,
                )
            )  # fmt: skip
        content = verdicts.to_bytes(verdicts.to_table(made))
        key = f"scores/{digest(artifact, self.dimension, parser, len(rows))[7:]}/verdicts.parquet"
        self.data.write_bytes(key, content)
        mean = sum(row.value for row in made) / len(made)
        terms = [{"weight": 1.0, "of": {"op": "mean", "scenario": s.name}} for s in self.scenarios]
        formula = {"op": "scale", "by": 100.0, "of": {"op": "weighted_mean", "terms": terms}}
        full = sum(scenario.samples for scenario in self.scenarios)
        counts = evaluation_pb2.VerdictCounts(n=len(made), n_expected=full, answered=len(made))
        return evaluation_pb2.Score(
            metric=self.dimension,
            parser_version=parser,
            value=100 * mean,
            counts=counts,
            complete=True,
            verdicts_uri=self.data.uri_of(key),
            verdicts_digest=sha256_bytes(content),
            formula=ParseDict(formula, Struct()),
        )

    def _find(self, id):
        if id not in self.evaluations:
            raise NotFound("no such evaluation")
        return self.evaluations[id]

    async def GetEvaluation(self, request, context):
        return evaluation_pb2.GetEvaluationResponse(evaluation=self._find(request.id))

    async def WatchEvaluation(self, request, context):
        evaluation = self._find(request.id)
        response = lambda: evaluation_pb2.WatchEvaluationResponse(evaluation=evaluation)  # noqa: E731
        async for update in watch(evaluation, response):
            yield update

    async def CancelEvaluation(self, request, context):
        evaluation = self._find(request.id)
        if evaluation.meta.state in (S.STATE_SUCCEEDED, S.STATE_FAILED):
            raise FailedPrecondition("it has ended")
        self.tasks[request.id].cancel()
        evaluation.meta.state = S.STATE_CANCELLED
        return evaluation_pb2.CancelEvaluationResponse(evaluation=evaluation)
