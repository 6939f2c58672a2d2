"""`assay-coordinator`: studies as durable workflows, behind gRPC."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from typing import NoReturn

import grpc

from assay_coordinator.canaries import Canaries
from assay_coordinator.peers import Peers
from assay_coordinator.servicer import CoordinationServicer
from assay_coordinator.settings import CoordinatorSettings
from assay_coordinator.store import StudyRecords, StudyStore
from assay_coordinator.store.executors import ExecutorStore
from assay_coordinator.store.turns import TurnStore
from assay_coordinator.studies import Studies
from assay_coordinator.study_gauges import StudyGauges
from assay_coordinator.workflows.context import Context
from assay_coordinator.workflows.durable import launch, shut_down
from assay_coordinator.workflows.runner import StudyRunner
from assay_coordinator.workflows.takeover import Membership
from assay_coordinator.workflows.turns import Resource, Turns
from assay_core.errors import AssayError, FailedPrecondition
from assay_core.pb import coordination_pb2, coordination_pb2_grpc
from assay_core.server import serve
from assay_core.settings import load_settings
from assay_core.storage import ObjectStore

SERVICE = coordination_pb2.DESCRIPTOR.services_by_name["CoordinationService"].full_name


async def run(settings: CoordinatorSettings) -> None:
    """Serve until SIGTERM or SIGINT; studies under way go on after the next start."""
    data = ObjectStore(settings.data_uri)
    await asyncio.to_thread(data.check)
    peers = Peers(settings)
    store = StudyStore(settings.database_url)
    places = {
        Resource.COMPRESSION: settings.compression_concurrency,
        Resource.ENGINE: settings.engine_concurrency,
    }
    context = Context(
        settings=settings,
        records=StudyRecords(settings.database_url),
        store=store,
        peers=peers,
        data=data,
        turns=Turns(TurnStore(store.engine), places),
    )
    runner = StudyRunner(context)
    of_canaries = replace(
        context, records=StudyRecords(settings.database_url, "canaries"), kind="canary"
    )
    canary_runner = StudyRunner(of_canaries)
    background = [asyncio.create_task(StudyGauges(context).run())]

    def register(server: grpc.aio.Server) -> list[str]:
        studies = Studies(context, runner)
        canaries = Canaries(of_canaries, canary_runner, studies)
        servicer = CoordinationServicer(studies, canaries, peers)
        coordination_pb2_grpc.add_CoordinationServiceServicer_to_server(servicer, server)
        return [SERVICE]

    async def on_start() -> None:
        if membership is not None:
            await membership.join()
        launch(settings)
        await reconcile()
        if membership is not None:
            background.append(asyncio.create_task(membership.watch(reconcile, end)))

    async def reconcile() -> None:
        await runner.reconcile()
        await canary_runner.reconcile()

    def end() -> NoReturn:
        sys.stderr.write(f"assay-coordinator: {_lost(settings.executor_id)}\n")
        sys.stderr.flush()
        os._exit(2)

    membership = _membership(settings, store)
    try:
        await serve(settings, "coordinator", register, on_start=on_start)
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await shut_down(runner, canary_runner)
        if membership is not None:
            await membership.leave()
        await peers.close()
        await context.records.close()
        await of_canaries.records.close()
        await context.store.close()


def _lost(executor_id: str) -> AssayError:
    return FailedPrecondition(
        f"executor_id {executor_id} was taken over, or is another process's",
        reason="EXECUTOR_LOST",
        remedy="start it again; if this recurs, give each replica an executor_id of its own",
    )


def _membership(settings: CoordinatorSettings, store: StudyStore) -> Membership | None:
    """Among the replicas of a Postgres database; a SQLite file has one process."""
    if store.engine.dialect.name != "postgresql":
        return None
    rows = ExecutorStore(store.engine)
    return Membership(rows, settings.executor_id, settings.executor_ttl_seconds)


def main() -> int:
    """Entry point; returns the exit code."""
    try:
        settings = load_settings(CoordinatorSettings, sys.argv[1:])
        asyncio.run(run(settings))
    except AssayError as error:
        sys.stderr.write(f"assay-coordinator: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
