"""Replicas watch over each other: the workflows of one that died go on at another.

Every replica renews its row. One that finds another's row run out takes that id's workflows: it
puts them back into the engine's queue, from which any replica that is alive takes each exactly
once. The row is locked meanwhile, so one replica does it, and the dead one, if it comes back, waits
until it is done and starts with what is its own.

One that was only cut off, and is taken over while it still runs, can do no harm: the workflow
engine lets only the owner of a workflow record a step, and what a step asks of a peer carries an id
that is the same in both. It finds another epoch at its next beat, and ends there and then, as by
`kill -9`: what it would tidy up is another's now.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import NoReturn

from dbos import DBOS
from sqlalchemy.exc import SQLAlchemyError

from assay_coordinator.store.executors import ExecutorStore
from assay_coordinator.workflows.runner import WORKFLOW_VERSION
from assay_core.logs import get_logger

_LOG = get_logger("assay.coordinator.takeover")
_BEATS_PER_LIFE = 3


class Membership:
    """This replica among the others."""

    def __init__(self, store: ExecutorStore, executor_id: str, ttl_seconds: float) -> None:
        self._store = store
        self._id = executor_id
        self._ttl = ttl_seconds
        self._epoch = 0

    async def join(self) -> None:
        """Be alive; before the workflow engine takes up what belongs to this id."""
        self._epoch = await asyncio.to_thread(self._store.join, self._id, self._ttl)

    async def leave(self) -> None:
        """Be dead at once, so that others take over now; after the last workflow was halted."""
        if self._epoch:
            with contextlib.suppress(SQLAlchemyError):  # then the row runs out by itself
                await asyncio.to_thread(self._store.renew, self._id, self._epoch, 0.0)

    async def watch(
        self, on_adopted: Callable[[], Awaitable[None]], on_lost: Callable[[], NoReturn]
    ) -> None:
        """Beat until cancelled.

        Args:
            on_adopted: Called after workflows were taken over.
            on_lost: Ends the process; called if this id is another's, or was taken for dead, and
                by a defect of the watch itself: who does not beat must not work.
        """
        while True:
            await asyncio.sleep(self._ttl / _BEATS_PER_LIFE)
            try:
                if not await asyncio.to_thread(self._store.renew, self._id, self._epoch, self._ttl):
                    on_lost()
                if await asyncio.to_thread(self._adopt):
                    await on_adopted()
            except SQLAlchemyError as error:
                # Nobody can take over without the database either.
                _LOG.warning("heartbeat_failed", error=type(error).__name__)
            except Exception:  # noqa: BLE001 (who does not beat must not work)
                _LOG.exception("heartbeat_defect", executor=self._id)
                on_lost()

    def _adopt(self) -> list[str]:
        with self._store.dead(but=self._id) as ids:
            for dead in ids:
                found = DBOS.list_workflows(
                    executor_id=dead,
                    status="PENDING",
                    app_version=WORKFLOW_VERSION,
                    load_input=False,
                    load_output=False,
                )
                DBOS.resume_workflows([workflow.workflow_id for workflow in found])
                _LOG.info("executor_taken_over", executor=dead, workflows=len(found))
        return ids
