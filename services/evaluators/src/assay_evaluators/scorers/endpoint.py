"""A classifier behind a ScoringService (`assay-scoring`, or anything that speaks scoring/v1)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from assay_core.errors import AssayError, FailedPrecondition, Unavailable, from_rpc_error
from assay_core.pb import scoring_pb2, scoring_pb2_grpc
from assay_evaluators.sdk.text_scores import BLANK, SCORER_ERROR, checked
from assay_evaluators.sdk.types import TextScore

BATCH = 512
MESSAGE_ITEMS = 256
MESSAGE_CHARACTERS = 400_000
"""A message holds as many items as the contract allows, and stays well below the 4 MiB limit."""

# A repeat is safe: scoring changes nothing.
_RETRIED = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)


@dataclass(frozen=True)
class Patience:
    """Bounds of asking a scorer.

    Attributes:
        attempts: Times a batch is asked for before the scorer counts as gone.
        backoff_seconds: First wait between attempts; doubles up to `backoff_limit_seconds`.
        backoff_limit_seconds: Longest wait.
        batch_seconds: Longest time of one batch; a slow classifier on a CPU needs minutes.
    """

    attempts: int = 7
    backoff_seconds: float = 0.5
    backoff_limit_seconds: float = 5.0
    batch_seconds: float = 1800.0


class EndpointScorer:
    """A scorer of a ScoringService.

    Args:
        stub: The service.
        scorer: Id of the scorer there.
        patience: Bounds.
    """

    batch = BATCH

    def __init__(
        self,
        stub: scoring_pb2_grpc.ScoringServiceAsyncStub,
        scorer: str,
        patience: Patience | None = None,
    ) -> None:
        self.id = scorer
        self._stub = stub
        self._patience = patience or Patience()

    async def score(self, texts: Sequence[str]) -> list[TextScore]:
        """Scores texts.

        Raises:
            Unavailable: If the service did not answer in all attempts.
            FailedPrecondition: If it answers another thing than it was asked.
            AssayError: What else it said, such as an unknown scorer.
        """
        patience = self._patience
        for attempt in range(1, patience.attempts + 1):
            try:
                return await self._attempt(texts)
            except AssayError as error:
                if error.code not in _RETRIED:
                    raise
                if attempt == patience.attempts:
                    raise Unavailable(
                        f"scorer {self.id} does not answer ({error.reason})",
                        reason="SCORER_UNAVAILABLE",
                        remedy="start the scoring service, then create the evaluation again; it"
                        " resumes with the scores that are stored",
                    ) from error
                doubled = patience.backoff_seconds * 2 ** (attempt - 1)
                wait = min(doubled, patience.backoff_limit_seconds)
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 (spreads retries)
        raise AssertionError("unreachable")

    async def _attempt(self, texts: Sequence[str]) -> list[TextScore]:
        # The stubs know only calls with an iterator of requests.
        score: Any = self._stub.Score
        call = score(timeout=self._patience.batch_seconds)
        found: dict[str, TextScore] = {}
        try:
            # One message under way at a time: a write to a call that the server has just ended
            # makes grpc.aio forget the server's status.
            for request in _messages(self.id, texts):
                await call.write(request)
                while not found.keys() >= {item.id for item in request.items}:
                    response = await call.read()
                    if not isinstance(response, scoring_pb2.ScoreResponse):
                        raise self._wrong_answer()
                    found.update((item.id, _score(item)) for item in response.scores)
            await call.done_writing()
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()
        if len(found) != len(texts):
            raise self._wrong_answer()
        return [found[str(position)] for position in range(len(texts))]

    def _wrong_answer(self) -> FailedPrecondition:
        return FailedPrecondition(
            f"scorer {self.id} did not answer every text once",
            reason="SCORER_ANSWERS_WRONG",
            remedy="the service must answer each item under its id",
        )


def _messages(scorer: str, texts: Sequence[str]) -> Iterator[scoring_pb2.ScoreRequest]:
    request = scoring_pb2.ScoreRequest(scorer=scorer)
    characters = 0
    for position, text in enumerate(texts):
        full = len(request.items) == MESSAGE_ITEMS
        if request.items and (full or characters + len(text) > MESSAGE_CHARACTERS):
            yield request
            request, characters = scoring_pb2.ScoreRequest(scorer=scorer), 0
        # A lone surrogate is no UTF-8; protobuf takes none.
        clean = text.encode("utf-8", "replace").decode()
        request.items.add(id=str(position), text=clean)
        characters += len(text)
    yield request


def _score(item: scoring_pb2.ItemScore) -> TextScore:
    if item.HasField("value"):
        return checked(item.value)
    return TextScore(None, BLANK if item.missing_reason == BLANK else SCORER_ERROR)
