"""The RPCs of canaries: each converts, asks, converts back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from assay_coordinator.canaries import Canaries
from assay_coordinator.domain.progress import Progress
from assay_coordinator.wire.canary import (
    asked_from_message,
    canary_message,
    record_canary_message,
)
from assay_core.auth import DEFAULT_PROJECT
from assay_core.pb import coordination_pb2 as pb
from assay_core.pb import coordination_pb2_grpc

Context = Any  # grpc.aio.ServicerContext; the shell raises our errors through it


class CanaryRpcs(coordination_pb2_grpc.CoordinationServiceServicer):
    """The part of the service that is about canaries, over `Canaries`."""

    _canaries: Canaries

    async def CreateCanary(
        self, request: pb.CreateCanaryRequest, context: Context
    ) -> pb.CreateCanaryResponse:
        """See coordination.proto."""
        project = request.project or DEFAULT_PROJECT
        asked = asked_from_message(request)
        record = await self._canaries.replay(project, request.request_id, asked)
        return pb.CreateCanaryResponse(canary=await self._canary(record.id))

    async def GetCanary(
        self, request: pb.GetCanaryRequest, context: Context
    ) -> pb.GetCanaryResponse:
        """See coordination.proto."""
        await self._canaries.check_visible(request.id)
        return pb.GetCanaryResponse(canary=await self._canary(request.id))

    async def ListCanaries(
        self, request: pb.ListCanariesRequest, context: Context
    ) -> pb.ListCanariesResponse:
        """See coordination.proto."""
        page = await self._canaries.page(request.project or DEFAULT_PROJECT, request.options)
        return pb.ListCanariesResponse(
            canaries=[record_canary_message(record, Progress()) for record in page.records],
            next_page_token=page.next_page_token,
        )

    async def WatchCanary(
        self, request: pb.WatchCanaryRequest, context: Context
    ) -> AsyncIterator[pb.WatchCanaryResponse]:
        """See coordination.proto."""
        await self._canaries.check_visible(request.id)
        async for view, event in self._canaries.watch(request.id):
            yield pb.WatchCanaryResponse(canary=canary_message(view, []), event=event)

    async def CancelCanary(
        self, request: pb.CancelCanaryRequest, context: Context
    ) -> pb.CancelCanaryResponse:
        """See coordination.proto."""
        await self._canaries.check_visible(request.id)
        await self._canaries.cancel(request.id)
        return pb.CancelCanaryResponse(canary=await self._canary(request.id))

    async def ResumeCanary(
        self, request: pb.ResumeCanaryRequest, context: Context
    ) -> pb.ResumeCanaryResponse:
        """See coordination.proto."""
        await self._canaries.check_visible(request.id)
        await self._canaries.resume(request.id)
        return pb.ResumeCanaryResponse(canary=await self._canary(request.id))

    async def _canary(self, canary_id: str) -> pb.Canary:
        view = await self._canaries.view(canary_id)
        _, comparisons = await self._canaries.comparisons(canary_id)
        return canary_message(view, comparisons)
