"""CoordinationService: each RPC converts, asks, converts back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from assay_coordinator.canaries import Canaries
from assay_coordinator.domain.comparison import Comparison
from assay_coordinator.domain.progress import Progress
from assay_coordinator.listing import page_of, page_of_comparisons
from assay_coordinator.peers import Peers
from assay_coordinator.planning import plan_study
from assay_coordinator.servicer_canaries import CanaryRpcs
from assay_coordinator.store import StudyRecord
from assay_coordinator.studies import Studies, no_report
from assay_coordinator.wire.results import comparison_message, gate_message, policy_from_message
from assay_coordinator.wire.study import spec_from_message
from assay_coordinator.wire.views import (
    CHUNK_BYTES,
    leaderboard_message,
    plan_message,
    record_message,
    study_message,
)
from assay_core.auth import DEFAULT_PROJECT
from assay_core.pb import common_pb2
from assay_core.pb import coordination_pb2 as pb
from assay_core.server import package_version

CAPABILITIES = (
    "studies.durable",
    "studies.pause",
    "studies.plan",
    "studies.extend",
    "gate",
    "report",
    "canary",
)
_CANARY_PREFIX = "canary-"

Context = Any  # grpc.aio.ServicerContext; the shell raises our errors through it


class CoordinationServicer(CanaryRpcs):
    """The contract's RPCs over `Studies` and `Canaries`."""

    def __init__(self, studies: Studies, canaries: Canaries, peers: Peers) -> None:
        self._studies = studies
        self._canaries = canaries
        self._peers = peers

    async def CreateStudy(
        self, request: pb.CreateStudyRequest, context: Context
    ) -> pb.CreateStudyResponse:
        """See coordination.proto."""
        spec = spec_from_message(request.spec)
        project = request.project or DEFAULT_PROJECT
        record = await self._studies.create(project, request.request_id, spec)
        return pb.CreateStudyResponse(study=await self._study(record.id))

    async def PlanStudy(
        self, request: pb.PlanStudyRequest, context: Context
    ) -> pb.PlanStudyResponse:
        """See coordination.proto."""
        spec = spec_from_message(request.spec)
        plan = await plan_study(self._peers, request.project or DEFAULT_PROJECT, spec)
        return plan_message(plan, self._studies.settings.plan_tokens_per_second)

    async def GetStudy(self, request: pb.GetStudyRequest, context: Context) -> pb.GetStudyResponse:
        """See coordination.proto."""
        await self._studies.check_visible(request.id)
        return pb.GetStudyResponse(study=await self._study(request.id))

    async def ListStudies(
        self, request: pb.ListStudiesRequest, context: Context
    ) -> pb.ListStudiesResponse:
        """See coordination.proto."""
        page = await self._studies.page(request.project or DEFAULT_PROJECT, request.options)
        return pb.ListStudiesResponse(
            studies=[record_message(record, Progress()) for record in page.records],
            next_page_token=page.next_page_token,
        )

    async def CancelStudy(
        self, request: pb.CancelStudyRequest, context: Context
    ) -> pb.CancelStudyResponse:
        """See coordination.proto."""
        await self._studies.check_visible(request.id)
        await self._studies.cancel(request.id)
        return pb.CancelStudyResponse(study=await self._study(request.id))

    async def PauseStudy(
        self, request: pb.PauseStudyRequest, context: Context
    ) -> pb.PauseStudyResponse:
        """See coordination.proto."""
        await self._studies.check_visible(request.id)
        await self._studies.pause(request.id)
        return pb.PauseStudyResponse(study=await self._study(request.id))

    async def ResumeStudy(
        self, request: pb.ResumeStudyRequest, context: Context
    ) -> pb.ResumeStudyResponse:
        """See coordination.proto."""
        await self._studies.check_visible(request.id)
        await self._studies.resume(request.id)
        return pb.ResumeStudyResponse(study=await self._study(request.id))

    async def ExtendStudy(
        self, request: pb.ExtendStudyRequest, context: Context
    ) -> pb.ExtendStudyResponse:
        """See coordination.proto."""
        await self._studies.check_visible(request.id)
        record = await self._studies.extend(request.id, request.rows, request.request_id)
        return pb.ExtendStudyResponse(study=await self._study(record.id))

    async def DeleteStudy(
        self, request: pb.DeleteStudyRequest, context: Context
    ) -> pb.DeleteStudyResponse:
        """See coordination.proto."""
        await self._studies.check_visible(request.id)
        await self._studies.delete(request.id)
        return pb.DeleteStudyResponse()

    async def WatchStudy(
        self, request: pb.WatchStudyRequest, context: Context
    ) -> AsyncIterator[pb.WatchStudyResponse]:
        """See coordination.proto."""
        await self._studies.check_visible(request.id)
        async for view, event in self._studies.watch(request.id):
            study = study_message(view, scenarios=False)
            yield pb.WatchStudyResponse(study=study, event=event)

    async def ListComparisons(
        self, request: pb.ListComparisonsRequest, context: Context
    ) -> pb.ListComparisonsResponse:
        """See coordination.proto."""
        await self._studies.check_visible(request.study_id)
        _, comparisons = await self._studies.comparisons(request.study_id)
        page, token = page_of_comparisons(comparisons, request.options)
        return pb.ListComparisonsResponse(
            comparisons=[comparison_message(comparison) for comparison in page],
            next_page_token=token,
        )

    async def EvaluateGate(
        self, request: pb.EvaluateGateRequest, context: Context
    ) -> pb.EvaluateGateResponse:
        """See coordination.proto."""
        await self._studies.check_visible(request.study_id)
        policy = policy_from_message(request.policy) if request.HasField("policy") else None
        result = await self._studies.gate(request.study_id, policy)
        return pb.EvaluateGateResponse(result=gate_message(result))

    async def GetReport(
        self, request: pb.GetReportRequest, context: Context
    ) -> pb.GetReportResponse:
        """See coordination.proto."""
        reported = await self._reported(request.study_id)
        record, comparisons = await reported.comparisons(request.study_id)
        if not record.status.report:
            raise no_report(record)
        return pb.GetReportResponse(
            headline=record.status.headline,
            files=[pb.ReportFile(**file.model_dump()) for file in record.status.report],
            comparisons=[comparison_message(c) for c in _of_report(record, comparisons)],
        )

    async def DownloadReport(
        self, request: pb.DownloadReportRequest, context: Context
    ) -> AsyncIterator[pb.DownloadReportResponse]:
        """See coordination.proto."""
        reported = await self._reported(request.study_id)
        form = request.format or "html"
        if request.include_examples:
            content = await reported.report_with_examples(request.study_id, form)
        else:
            content = await reported.report_file(request.study_id, form)
        for start in range(0, len(content), CHUNK_BYTES):
            yield pb.DownloadReportResponse(chunk=content[start : start + CHUNK_BYTES])

    async def CompareVariants(
        self, request: pb.CompareVariantsRequest, context: Context
    ) -> pb.CompareVariantsResponse:
        """See coordination.proto."""
        reference_study = request.reference_study_id or request.study_id
        for study_id in {request.study_id, reference_study}:
            await self._studies.check_visible(study_id)
        found = await self._studies.compare(
            (request.study_id, request.variant_key), (reference_study, request.reference_key)
        )
        return pb.CompareVariantsResponse(comparisons=[comparison_message(c) for c in found])

    async def ListLeaderboard(
        self, request: pb.ListLeaderboardRequest, context: Context
    ) -> pb.ListLeaderboardResponse:
        """See coordination.proto."""
        entries = await self._studies.leaderboard(
            request.project or DEFAULT_PROJECT, request.dimension
        )
        page, token = page_of(entries, request.options)
        return pb.ListLeaderboardResponse(
            entries=[leaderboard_message(entry) for entry in page], next_page_token=token
        )

    async def GetServerInfo(
        self, request: pb.GetServerInfoRequest, context: Context
    ) -> pb.GetServerInfoResponse:
        """See coordination.proto."""
        info = common_pb2.ServerInfo(
            service="coordinator",
            version=package_version(),
            apis=["assay.coordination.v1"],
            capabilities=[*CAPABILITIES, *(f"dimension.{d}" for d in self._peers.dimensions)],
        )
        return pb.GetServerInfoResponse(info=info)

    # -- helpers -----------------------------------------------------------------------------------

    async def _study(self, study_id: str) -> pb.Study:
        return study_message(await self._studies.view(study_id))

    async def _reported(self, study_id: str) -> Studies:
        """Where a report is: of a study, or of a canary."""
        if study_id.startswith(_CANARY_PREFIX):
            await self._canaries.check_visible(study_id)
            return self._canaries
        await self._studies.check_visible(study_id)
        return self._studies


def _of_report(record: StudyRecord, comparisons: list[Comparison]) -> list[Comparison]:
    """Whole dimensions by the main parser: what the summary of a report is about."""
    return [
        comparison
        for comparison in comparisons
        if not comparison.scenario and comparison.parser_version == record.spec.main_parser
    ]
