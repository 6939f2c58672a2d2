"""Classifiers by id: the embedded one, and those of a scoring service."""

from __future__ import annotations

from assay_core.errors import FailedPrecondition
from assay_core.pb import scoring_pb2_grpc
from assay_evaluators.scorers import embedded
from assay_evaluators.scorers.embedded import EmbeddedScorer
from assay_evaluators.scorers.endpoint import EndpointScorer
from assay_evaluators.sdk.text_scores import Scorer


class Scorers:
    """The embedded scorer by its id; any other id is asked of the scoring service.

    Args:
        stub: The scoring service; None if there is none.
    """

    def __init__(self, stub: scoring_pb2_grpc.ScoringServiceAsyncStub | None) -> None:
        self._stub = stub
        self._embedded = EmbeddedScorer()

    def get(self, scorer: str) -> Scorer:
        """A scorer by id.

        Raises:
            FailedPrecondition: If it is not embedded and there is no scoring service.
        """
        if scorer == embedded.ID:
            return self._embedded
        if self._stub is None:
            raise FailedPrecondition(
                f"scorer {scorer} needs a scoring service, and none is known here",
                field="metric",
                reason="NO_SCORING_SERVICE",
                remedy=f"name one with --scoring HOST:PORT, or use {embedded.ID}",
            )
        return EndpointScorer(self._stub, scorer)
