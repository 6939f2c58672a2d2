"""ScoringService: each RPC converts, asks, converts back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from assay_core.pb import scoring_pb2 as pb
from assay_core.pb import scoring_pb2_grpc
from assay_scoring.scorers import Scorers

Context = Any  # grpc.aio.ServicerContext; the shell raises our errors through it


class ScoringServicer(scoring_pb2_grpc.ScoringServiceServicer):
    """The contract's RPCs over `Scorers`."""

    def __init__(self, scorers: Scorers) -> None:
        self._scorers = scorers

    async def ListScorers(
        self, request: pb.ListScorersRequest, context: Context
    ) -> pb.ListScorersResponse:
        """See scoring.proto."""
        return pb.ListScorersResponse(
            scorers=[
                pb.Scorer(id=each.id, summary=each.summary, licence=each.licence)
                for each in self._scorers.classifiers
            ]
        )

    async def Score(
        self, requests: AsyncIterator[pb.ScoreRequest], context: Context
    ) -> AsyncIterator[pb.ScoreResponse]:
        """See scoring.proto."""
        scorer: str | None = None
        async for request in requests:
            if scorer is None:
                scorer = self._scorers.resolve(request.scorer)
            found = await self._scorers.score(scorer, [item.text for item in request.items])
            yield pb.ScoreResponse(
                scores=[
                    pb.ItemScore(id=item.id, value=each.value, missing_reason=each.missing_reason)
                    for item, each in zip(request.items, found, strict=True)
                ]
            )
