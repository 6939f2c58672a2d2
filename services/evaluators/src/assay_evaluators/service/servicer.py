"""EvaluationService: each RPC converts, asks, converts back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from assay_core.auth import DEFAULT_PROJECT, current_principal
from assay_core.errors import InvalidArgument
from assay_core.pb import common_pb2, evaluation_pb2_grpc
from assay_core.pb import evaluation_pb2 as pb
from assay_core.resources import Record
from assay_core.server import package_version
from assay_evaluators.sdk.generate import Lease
from assay_evaluators.sdk.spec import Spec
from assay_evaluators.service import convert
from assay_evaluators.service.evaluations import Creation, Evaluations
from assay_evaluators.service.examples import Query
from assay_evaluators.service.pack_access import PackAccess

_PAIRS_PER_MESSAGE = 1000

Context = Any  # grpc.aio.ServicerContext; the shell raises our errors through it


class EvaluationServicer(evaluation_pb2_grpc.EvaluationServiceServicer):
    """The contract's RPCs over `Evaluations`."""

    def __init__(self, evaluations: Evaluations, packs: PackAccess) -> None:
        self._evaluations = evaluations
        self._packs = packs

    async def DescribeDimension(
        self, request: pb.DescribeDimensionRequest, context: Context
    ) -> pb.DescribeDimensionResponse:
        """See evaluation.proto."""
        return convert.from_dimension(self._evaluations.dimension)

    async def PlanEvaluation(
        self, request: pb.PlanEvaluationRequest, context: Context
    ) -> pb.PlanEvaluationResponse:
        """See evaluation.proto."""
        plan, missing = await self._evaluations.plan(await self._spec(request.spec))
        return convert.from_plan(plan, missing)

    async def CreateEvaluation(
        self, request: pb.CreateEvaluationRequest, context: Context
    ) -> pb.CreateEvaluationResponse:
        """See evaluation.proto."""
        project = request.project or DEFAULT_PROJECT
        current_principal().require_project(project)
        spec = await self._spec(request.spec)
        # A request that cannot run is refused before anything is created.
        await self._evaluations.plan(spec)
        parsers = dict.fromkeys(
            self._evaluations.dimension.parser(version).version
            for version in request.parser_versions or ("",)
        )
        record = await self._evaluations.create(
            Creation(project, request.request_id, spec, tuple(parsers), _lease(request))
        )
        return pb.CreateEvaluationResponse(evaluation=convert.from_record(record))

    async def GetEvaluation(
        self, request: pb.GetEvaluationRequest, context: Context
    ) -> pb.GetEvaluationResponse:
        """See evaluation.proto."""
        return pb.GetEvaluationResponse(
            evaluation=convert.from_record(await self._visible(request.id))
        )

    async def ListEvaluations(
        self, request: pb.ListEvaluationsRequest, context: Context
    ) -> pb.ListEvaluationsResponse:
        """See evaluation.proto."""
        project = request.project or DEFAULT_PROJECT
        current_principal().require_project(project)
        options = request.options
        page = await self._evaluations.records.list(
            project, options.page_size, options.page_token, options.filter, options.order_by
        )
        return pb.ListEvaluationsResponse(
            evaluations=[convert.from_record(record, details=False) for record in page.records],
            next_page_token=page.next_page_token,
        )

    async def CancelEvaluation(
        self, request: pb.CancelEvaluationRequest, context: Context
    ) -> pb.CancelEvaluationResponse:
        """See evaluation.proto."""
        await self._visible(request.id)
        record = await self._evaluations.cancel(request.id)
        return pb.CancelEvaluationResponse(evaluation=convert.from_record(record))

    async def WatchEvaluation(
        self, request: pb.WatchEvaluationRequest, context: Context
    ) -> AsyncIterator[pb.WatchEvaluationResponse]:
        """See evaluation.proto."""
        await self._visible(request.id)
        async with aclosing(self._evaluations.records.watch(request.id)) as changes:
            async for record in changes:
                yield pb.WatchEvaluationResponse(evaluation=convert.from_record(record))

    async def Rescore(self, request: pb.RescoreRequest, context: Context) -> pb.RescoreResponse:
        """See evaluation.proto."""
        await self._visible(request.id)
        score = await self._evaluations.rescore(request.id, request.parser_version, request.metric)
        return pb.RescoreResponse(score=convert.from_score(score))

    async def ListExamples(
        self, request: pb.ListExamplesRequest, context: Context
    ) -> pb.ListExamplesResponse:
        """See evaluation.proto."""
        await self._visible(request.id)
        options = request.options
        for name in ("filter", "order_by"):
            if getattr(options, name):
                raise InvalidArgument.of(
                    f"options.{name}", "is not supported for examples", remedy="leave it empty"
                )
        query = Query(
            scenario=request.scenario,
            sample_ids=frozenset(request.sample_ids),
            size=options.page_size,
            token=options.page_token,
        )
        return convert.from_examples(await self._evaluations.examples(request.id, query))

    async def PairReplays(
        self, request: pb.PairReplaysRequest, context: Context
    ) -> AsyncIterator[pb.PairReplaysResponse]:
        """See evaluation.proto."""
        for each in (request.id, request.reference_id):
            await self._visible(each)
        pairs = await self._evaluations.pairs(request.id, request.reference_id)
        for start in range(0, len(pairs), _PAIRS_PER_MESSAGE):
            yield convert.from_pairs(pairs[start : start + _PAIRS_PER_MESSAGE])

    async def GetServerInfo(
        self, request: pb.GetServerInfoRequest, context: Context
    ) -> pb.GetServerInfoResponse:
        """See evaluation.proto."""
        return pb.GetServerInfoResponse(
            info=common_pb2.ServerInfo(
                service="evaluator",
                version=package_version(),
                apis=["assay.evaluation.v1"],
                capabilities=[
                    f"dimension.{self._evaluations.dimension.name}",
                    "rescore",
                    "examples",
                    "prompt_profile.paper",
                ],
            )
        )

    async def _visible(self, evaluation_id: str) -> Record:
        """An evaluation of a project that the caller may not see does not exist for them."""
        records = self._evaluations.records
        record = await records.get(evaluation_id)
        if not current_principal().may_see(record.project):
            raise records.absent(evaluation_id)
        return record

    async def _spec(self, message: pb.EvaluationSpec) -> Spec:
        own = self._evaluations.dimension.name
        if message.dimension != own:
            raise InvalidArgument.of(
                "spec.dimension",
                f"is {message.dimension!r}, this server evaluates {own!r}",
                remedy="ask the evaluator of that dimension",
            )
        pack = await asyncio.to_thread(self._packs.open, message.pack.uri, message.pack.digest)
        return convert.to_spec(message, pack.digest)


def _lease(request: pb.CreateEvaluationRequest) -> Lease | None:
    if not request.HasField("lease") or not request.lease.id:
        return None
    wanted, given = request.spec.subject.artifact_digest, request.lease.artifact_digest
    if given and given != wanted:
        raise InvalidArgument.of(
            "lease.artifact_digest",
            "is not the artifact of spec.subject",
            remedy="lease the subject's artifact (LoadModel)",
        )
    return Lease(id=request.lease.id, artifact_digest=wanted)
