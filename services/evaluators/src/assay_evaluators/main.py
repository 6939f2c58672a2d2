"""`assay-evaluator --dimension NAME`: one evaluator process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

import grpc

from assay_core.client import channel
from assay_core.errors import AssayError
from assay_core.pb import evaluation_pb2_grpc, pack_pb2_grpc, scoring_pb2_grpc, serving_pb2_grpc
from assay_core.resources import JsonField, ResourceStore
from assay_core.server import serve
from assay_core.settings import load_settings
from assay_core.storage import ObjectStore
from assay_evaluators.packs.depot import PackDepot
from assay_evaluators.scorers.registry import Scorers
from assay_evaluators.sdk.dimension import load_dimension
from assay_evaluators.sdk.generate import Generator
from assay_evaluators.service.evaluations import Evaluations
from assay_evaluators.service.pack_access import PackAccess
from assay_evaluators.service.scoring import Scoring
from assay_evaluators.service.servicer import EvaluationServicer
from assay_evaluators.service.servicer_packs import PackServicer
from assay_evaluators.service.settings import EvaluatorSettings

SERVICES = ("assay.evaluation.v1.EvaluationService", "assay.evaluation.v1.PackService")
FIELDS = {
    "dimension": JsonField("spec.evaluation.dimension"),
    "artifact_digest": JsonField("spec.evaluation.subject.artifact_digest"),
    "pack_digest": JsonField("spec.evaluation.pack_digest"),
}


async def run(settings: EvaluatorSettings) -> None:
    """Serves until a signal; unfinished evaluations are taken up first."""
    dimension = load_dimension(settings.dimension)
    if settings.scorer:
        dimension = dimension.with_scorer(settings.scorer)
    store = ObjectStore(settings.data_uri)
    await asyncio.to_thread(store.check)
    depot = PackDepot(store)
    packs = PackAccess(settings.packs, settings.allowed_prefixes, depot)
    records = ResourceStore(settings.database_url, "evaluations", fields=FIELDS)
    async with AsyncExitStack() as stack:
        serving = await stack.enter_async_context(channel(settings.serving, settings))
        stub = serving_pb2_grpc.ServingServiceStub(serving)
        scoring = None
        if settings.scoring:
            to_scoring = await stack.enter_async_context(channel(settings.scoring, settings))
            scoring = scoring_pb2_grpc.ScoringServiceStub(to_scoring)
        evaluations = Evaluations(
            Scoring(dimension, packs, store, Scorers(scoring)),
            records=records,
            generator=Generator(stub, store, settings.limits),
            at_once=settings.evaluations_at_once,
        )

        def register(server: grpc.aio.Server) -> Sequence[str]:
            servicer = EvaluationServicer(evaluations, packs)
            evaluation_pb2_grpc.add_EvaluationServiceServicer_to_server(servicer, server)
            pack_pb2_grpc.add_PackServiceServicer_to_server(PackServicer(depot), server)
            return SERVICES

        try:
            await serve(
                settings,
                "evaluator",
                register,
                on_start=evaluations.start,
                on_drain=evaluations.stop,
            )
        finally:
            await records.close()


def main() -> None:
    """Entry point of the console script."""
    try:
        settings = load_settings(EvaluatorSettings, sys.argv[1:])
        asyncio.run(run(settings))
    except AssayError as error:
        sys.exit(f"assay-evaluator: {error}")
