"""The workflow engine: DBOS on SQLite (embedded) or Postgres (by URL)."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from dbos import DBOS, DBOSConfig
from sqlalchemy import make_url

from assay_coordinator.settings import CoordinatorSettings
from assay_coordinator.workflows.runner import WORKFLOW_VERSION, StudyRunner
from assay_coordinator.workflows.serializer import JsonSerializer
from assay_core.logs import get_logger

_SHUT_DOWN_SECONDS = 10.0
_LOG = get_logger("assay.coordinator.durable")


def launch(settings: CoordinatorSettings) -> None:
    """Start the engine on the running event loop, and take up this executor's workflows.

    Blocks for the migration of the engine's database; called once, before the server answers.
    """
    config = DBOSConfig(
        name="assay-coordinator",
        system_database_url=database_url(settings),
        application_version=WORKFLOW_VERSION,
        executor_id=settings.executor_id,
        serializer=JsonSerializer(),
        log_level="WARNING",
        enable_otlp=False,
        max_executor_threads=16,
    )
    DBOS(config=config)
    _log_as_we_do()
    DBOS.launch()


def _log_as_we_do() -> None:
    """The engine's records go through our renderer; it warns of every step that a drain ends."""
    engine = logging.getLogger("dbos")
    engine.handlers.clear()
    engine.propagate = True
    engine.setLevel(logging.ERROR)


async def shut_down(*runners: StudyRunner) -> None:
    """Stop the engine. Workflows under way keep their state and go on after the next start."""
    try:
        async with asyncio.timeout(_SHUT_DOWN_SECONDS):
            await asyncio.gather(*(runner.halt() for runner in runners))
    except TimeoutError:
        _LOG.warning("workflows_not_halted")
    await asyncio.to_thread(DBOS.destroy)
    # The engine had made its own pool the loop's, and has closed it; closing stores needs one.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())


def database_url(settings: CoordinatorSettings) -> str:
    """The engine's own database: beside the coordinator's file, or the same Postgres."""
    if settings.dbos_url:
        return settings.dbos_url
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite":
        url = url.set(database=f"{(url.database or '').removesuffix('.sqlite')}-workflows.sqlite")
    return url.render_as_string(hide_password=False)
