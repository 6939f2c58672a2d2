"""What callers can do with studies: the application behind the servicer, in domain types."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

from assay_coordinator.admission import admit
from assay_coordinator.advice import advised
from assay_coordinator.domain.comparison import Comparison, GateResult
from assay_coordinator.domain.extension import Extension
from assay_coordinator.domain.policy import GatePolicy
from assay_coordinator.domain.progress import EvaluationStatus, VariantStatus
from assay_coordinator.domain.states import ACTIVE, CANCEL, DELETE, PAUSE, RESUME, permits
from assay_coordinator.domain.study import StudySpec
from assay_coordinator.examples import with_examples
from assay_coordinator.extending import extension_of
from assay_coordinator.leaderboard import Entry, Evaluated, rank
from assay_coordinator.report.model import ReportData
from assay_coordinator.report.tabular import render_json
from assay_coordinator.settings import CoordinatorSettings
from assay_coordinator.store import StudyPage, StudyRecord
from assay_coordinator.workflows.comparing import compare_named, terms_of
from assay_coordinator.workflows.context import Context
from assay_coordinator.workflows.finishing import gate_result
from assay_coordinator.workflows.runner import StudyRunner
from assay_coordinator.workflows.stopping import end_children
from assay_core.auth import current_principal
from assay_core.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from assay_core.pb import common_pb2
from assay_core.resources import State

_POLL_SECONDS = 0.25
_LEAST_SECONDS_BETWEEN = 0.2


@dataclass(frozen=True)
class View:
    """A study with everything that is known of it."""

    record: StudyRecord
    variants: list[VariantStatus]
    evaluations: list[EvaluationStatus]


class Studies:
    """Create, watch, stop, resume and read studies."""

    def __init__(self, context: Context, runner: StudyRunner) -> None:
        self._context = context
        self._runner = runner

    @property
    def settings(self) -> CoordinatorSettings:
        """Settings of the service."""
        return self._context.settings

    # -- life --------------------------------------------------------------------------------------

    async def create(self, project: str, request_id: str, spec: StudySpec) -> StudyRecord:
        """Create and start a study; the same request id is the same study.

        Raises:
            AssayError: If an evaluator can tell that it cannot run; see `admission`.
            ResourceExhausted: If the project has too many active studies.
        """
        await admit(self._context.peers, project, spec)
        return await self._create(project, request_id, spec)

    async def extend(self, study_id: str, rows: int, request_id: str) -> StudyRecord:
        """The same study with more rows, as a study of its own that reuses what is stored.

        Raises:
            FailedPrecondition: If there is no use in more rows, or no way to them.
            InvalidArgument: If `rows` are no more than it has.
        """
        record, comparisons = await self.comparisons(study_id)
        extension = await extension_of(self._context.peers, record, comparisons, rows)
        spec = record.spec.model_copy(update={"row_limit": extension.rows})
        once = request_id or f"extend/{study_id}/{extension.doublings}"
        extended = await self._create(record.project, once, spec, extension)
        text = f"extended to {extension.rows} rows per scenario as {extended.id}"
        await self._context.store.add_event(study_id, text)
        return extended

    async def _create(
        self, project: str, request_id: str, spec: StudySpec, extension: Extension | None = None
    ) -> StudyRecord:
        study_id = f"{self._context.kind}-{uuid.uuid4().hex[:12]}"
        record, created = await self._context.records.create(
            study_id, project, request_id, spec, extension
        )
        if created:
            try:
                await self._check_quota(project)
            except ResourceExhausted:
                await self._context.records.delete(record.id)
                raise
        if record.state in ACTIVE:
            await self._runner.start(record)
        return record

    async def _check_quota(self, project: str) -> None:
        limit = self._context.settings.max_active_studies
        page = await self._context.records.list(
            project,
            page_size=min(limit + 1, 1000),
            filter_text="state = QUEUED OR state = RUNNING OR state = WAITING_FOR_MODEL",
        )
        if len(page.records) > limit:
            raise ResourceExhausted(
                f"the project has {limit} active studies, the most it may have",
                reason="TOO_MANY_STUDIES",
                remedy="wait until one ends, or cancel one",
                resource=f"project/{project}",
                retry_after=60.0,
            )

    async def cancel(self, study_id: str) -> StudyRecord:
        """End a study; what is stored is kept."""
        record = await self.get(study_id)
        if permits(CANCEL, study_id, record.state):
            if record.state is State.PAUSED:
                return await self._context.records.update(
                    study_id, state=State.CANCELLED, expect={State.PAUSED}
                )
            record = await self._context.records.update(
                study_id, state=State.CANCELLING, expect=ACTIVE, goal=""
            )
            await self._context.store.add_event(study_id, "cancel asked for")
        if record.state is State.CANCELLING:
            await self._runner.stop(record, State.CANCELLED)
        return record

    async def pause(self, study_id: str) -> StudyRecord:
        """Stop a study, to be resumed later."""
        record = await self.get(study_id)
        if permits(PAUSE, study_id, record.state):
            record = await self._context.records.update(study_id, expect=ACTIVE, goal="pause")
            await self._context.store.add_event(study_id, "pause asked for")
            await self._runner.stop(record, State.PAUSED)
        return record

    async def resume(self, study_id: str) -> StudyRecord:
        """Continue a study; only what is missing is run."""
        record = await self.get(study_id)
        partly = record.state is State.SUCCEEDED and bool(record.status.failures)
        if partly or permits(RESUME, study_id, record.state):
            await end_children(self._context, study_id)
            record = await self._context.records.update(
                study_id,
                state=State.QUEUED,
                expect={record.state},
                attempt=record.status.attempt + 1,
                goal="",
                ended_at=None,
            )
            await self._context.store.add_event(study_id, "resumed")
        if record.state in ACTIVE and not record.status.goal:
            await self._runner.start(record)
        return record

    async def delete(self, study_id: str) -> None:
        """Delete a study and its report; generations and artifacts stay for others."""
        record = await self.get(study_id)
        permits(DELETE, study_id, record.state)
        await end_children(self._context, study_id)
        data = self._context.data
        await asyncio.to_thread(data.delete_tree, data.join("reports", study_id))
        await self._context.store.delete(study_id)
        await self._context.records.delete(study_id)

    async def page(self, project: str, options: common_pb2.ListOptions) -> StudyPage:
        """One page of the studies of a project."""
        return await self._context.records.list(
            project,
            page_size=options.page_size,
            page_token=options.page_token,
            filter_text=options.filter,
            order_by=options.order_by,
        )

    # -- reading -----------------------------------------------------------------------------------

    async def get(self, study_id: str) -> StudyRecord:
        """The record of a study.

        Raises:
            NotFound: If there is none.
        """
        return await self._context.records.get(study_id)

    async def check_visible(self, study_id: str) -> None:
        """A study of a project that the caller may not see does not exist for them.

        Raises:
            NotFound: If there is none that the caller may see.
        """
        record = await self.get(study_id)
        if not current_principal().may_see(record.project):
            raise self._context.records.absent(study_id)

    async def view(self, study_id: str) -> View:
        """A study with its variants and evaluations."""
        store = self._context.store
        record, variants, evaluations = await asyncio.gather(
            self.get(study_id), store.variants(study_id), store.evaluations(study_id)
        )
        return View(record, variants, evaluations)

    async def watch(self, study_id: str) -> AsyncIterator[tuple[View, str]]:
        """The study now and after each change, with what happened; ends at a terminal state."""
        store = self._context.store
        seen: tuple[int, int] | None = None
        events = await store.events(study_id)
        last = events[-1].sequence if events else 0
        while True:
            record, revision = await asyncio.gather(self.get(study_id), store.revision(study_id))
            if (record.version, revision) != seen:
                seen = (record.version, revision)
                fresh = await store.events(study_id, after=last)
                view = await self.view(study_id)
                for event in fresh[:-1]:
                    yield view, event.text
                yield view, fresh[-1].text if fresh else ""
                last = fresh[-1].sequence if fresh else last
                # Only a state that was seen with everything that goes with it ends the stream.
                if view.record.state.is_terminal and view.record.version == record.version:
                    return
                await asyncio.sleep(_LEAST_SECONDS_BETWEEN)
            else:
                await asyncio.sleep(_POLL_SECONDS)

    async def comparisons(self, study_id: str) -> tuple[StudyRecord, list[Comparison]]:
        """Every comparison of a study, whole dimensions before scenarios, in matrix order."""
        record = await self.get(study_id)
        positions = {v.key: v.position for v in await self._context.store.variants(study_id)}
        dimensions = {name: index for index, name in enumerate(record.spec.dimensions)}
        found = await self._context.store.comparisons(study_id)
        found.sort(
            key=lambda c: (
                bool(c.scenario),
                positions.get(c.variant_key, 0),
                dimensions.get(c.dimension, 0),
                c.parser_version,
                c.scenario,
            )
        )
        return record, found

    async def gate(self, study_id: str, policy: GatePolicy | None) -> GateResult:
        """Apply a policy, or the study's own, to the comparisons there are.

        Raises:
            FailedPrecondition: If there is no policy, or the study has not ended.
        """
        view = await self.view(study_id)
        record = view.record
        chosen = policy or record.spec.gate or GatePolicy()
        if not record.state.is_terminal:
            raise FailedPrecondition(
                f"study {study_id} is {record.state.value} and has no final comparisons",
                reason="STUDY_NOT_ENDED",
                remedy="watch it until it has ended",
                metadata={"state": record.state.value},
                resource=f"study/{study_id}",
            )
        _, comparisons = await self.comparisons(study_id)
        result = gate_result(chosen, record.spec, view.variants, comparisons)
        status = record.status
        headline = advised(
            result.headline,
            study_id,
            record.spec,
            status.extension,
            comparisons=comparisons,
            evaluations=view.evaluations,
            seconds=(status.ended_at or 0.0) - (status.started_at or 0.0),
        )
        return result.model_copy(update={"headline": headline})

    async def compare(
        self, variant: tuple[str, str], reference: tuple[str, str]
    ) -> list[Comparison]:
        """Compare a variant with a named reference, each given by study and key.

        Raises:
            NotFound: If a study has no such variant.
            FailedPrecondition: If no dimension is evaluated on both sides by one parser.
        """
        record = await self.get(variant[0])
        return await compare_named(self._context, terms_of(record), variant, reference)

    async def leaderboard(self, project: str, dimension: str) -> list[Entry]:
        """Variants of every finished study of a project, best first."""
        found = []
        records = self._context.records
        async for record in records.every(project, filter_text="state = SUCCEEDED"):
            variants, evaluations = await asyncio.gather(
                self._context.store.variants(record.id),
                self._context.store.evaluations(record.id),
            )
            found.append(Evaluated(record.id, record.spec, variants, evaluations))
        return rank(found, dimension)

    async def report_file(self, study_id: str, form: str) -> bytes:
        """The bytes of one file of the report.

        Raises:
            NotFound: If the study has no report.
        """
        record = await self.get(study_id)
        for file in record.status.report:
            if file.format == form:
                return await asyncio.to_thread(self._context.data.read_bytes, file.uri)
        raise no_report(record)

    async def report_with_examples(self, study_id: str, form: str) -> bytes:
        """The report as HTML or JSON, with the texts of its flipped completions; kept nowhere.

        Raises:
            NotFound: If the study has no report.
            InvalidArgument: If the form holds no texts.
            AssayError: If an evaluator is away.
        """
        if form not in ("html", "json"):
            raise InvalidArgument.of(
                "include_examples", f"is not for {form}", remedy="ask for html or json"
            )
        stored = ReportData.model_validate_json(await self.report_file(study_id, "json"))
        evaluations = await self._context.store.evaluations(study_id)
        data = await with_examples(self._context.peers, stored, evaluations)
        # matplotlib costs a second to load, which a restart should not wait for.
        from assay_coordinator.report.html import render_html  # noqa: PLC0415

        return await asyncio.to_thread(render_html if form == "html" else render_json, data)


def no_report(record: StudyRecord) -> NotFound:
    """The error of a report that is not there."""
    return NotFound(
        f"study {record.id} has no report; it is {record.state.value}",
        reason="NO_REPORT",
        remedy="watch the study until it has ended",
        metadata={"state": record.state.value},
        resource=f"study/{record.id}",
    )
