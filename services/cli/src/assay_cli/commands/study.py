"""`assay study ...`: run, plan, create, watch and manage studies."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import signal
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay_cli import documents, words
from assay_cli.app import Exit, Interrupted, Session, command
from assay_cli.commands.stack import bring_up, take_down
from assay_cli.coordinator import Filter, Limit, StudyId, coordinator
from assay_cli.failures import ExitCode
from assay_cli.output import plain_table
from assay_cli.study_watch import follow
from assay_coordinator.domain.study_file import study_schema
from assay_core.client import call
from assay_core.errors import AssayError
from assay_core.pb import common_pb2, coordination_pb2

if TYPE_CHECKING:
    from assay.coordination.v1.coordination_pb2_grpc import CoordinationServiceAsyncStub as Stub

File = Annotated[Path, typer.Option("-f", "--file", help="Study file, YAML.")]
_PLAN_TIMEOUT_SECONDS = 300.0
_CREATE_TIMEOUT_SECONDS = 120.0
_PAUSE_TIMEOUT_SECONDS = 15.0

app = typer.Typer(help="Studies: models x recipes x dimensions.", no_args_is_help=True)


@command(app, "run")
def run(
    session: Session,
    file: File,
    with_services: Annotated[
        bool, typer.Option("--with-services", help="Bring local services up, and down after.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan only; start nothing.")] = False,
) -> None:
    """Create a study, watch it, print its comparison table and the report's path."""
    # Mistakes in the file show before any service starts.
    spec = documents.study_spec(file)
    started = False
    if with_services:
        # What this command started it also stops, when it is ended politely by a script as well.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        started = bring_up(session.settings, session.output)[1]
    try:
        work = _plan(session, spec) if dry_run else _run(session, spec, ours=started)
        code = asyncio.run(work)
    finally:
        if started:
            take_down(session.settings, session.output)
    raise Exit(code)


@command(app, "plan")
async def plan(session: Session, file: File) -> None:
    """Say what a study would do and cost, and start nothing."""
    await _plan(session, documents.study_spec(file))


@command(app, "schema")
def schema(session: Session) -> None:
    """Print the JSON schema of the study file, for editors and checkers."""
    sys.stdout.write(json.dumps(study_schema(), indent=2) + "\n")


@command(app, "create")
async def create(session: Session, file: File) -> None:
    """Start a study in the background."""
    spec = documents.study_spec(file)
    async with coordinator(session) as stub:
        study = await _create(session, stub, spec)

    def render() -> None:
        session.output.line(study.meta.id)
        session.output.note(f"next: assay study watch {study.meta.id}")

    session.output.result({"study": study}, render)


@command(app, "watch")
async def watch(session: Session, study: StudyId) -> None:
    """Follow a study to its end and print its summary; exit code as of `study run`."""
    async with coordinator(session) as stub:
        raise Exit(await _follow(session, stub, study, ours=False))


@command(app, "list")
async def list_studies(
    session: Session,
    filters: Filter = "",
    limit: Limit = 50,
) -> None:
    """List studies, newest first."""
    request = coordination_pb2.ListStudiesRequest(
        project=session.settings.project,
        options=common_pb2.ListOptions(page_size=limit, filter=filters),
    )
    async with coordinator(session) as stub:
        response = await call(stub.ListStudies, request)
    table = plain_table("study", "name", "state", "done", "verdict", "created")
    for study in response.studies:
        progress = study.meta.progress
        table.add_row(
            study.meta.id,
            study.spec.name,
            words.state(study.meta.state),
            f"{progress.completed:,}/{progress.total:,}" if progress.total else "",
            words.verdict(study.gate_result.verdict),
            words.moment(study.meta.create_time),
        )
    session.output.result(response, lambda: session.output.show(table))


@command(app, "show")
async def show(session: Session, study: StudyId) -> None:
    """Show a study: its variants, their evaluations, what failed."""
    async with coordinator(session) as stub:
        response = await call(stub.GetStudy, coordination_pb2.GetStudyRequest(id=study))
    session.output.result(response, lambda: _show(session, response.study))


@command(app, "cancel")
async def cancel(session: Session, study: StudyId) -> None:
    """End a study; what it has stored is kept, `resume` goes on from there."""
    async with coordinator(session) as stub:
        response = await call(stub.CancelStudy, coordination_pb2.CancelStudyRequest(id=study))
    _say_state(session, response.study, f"next: assay study resume {study}")


@command(app, "pause")
async def pause(session: Session, study: StudyId) -> None:
    """Stop a study at the next safe point."""
    async with coordinator(session) as stub:
        response = await call(stub.PauseStudy, coordination_pb2.PauseStudyRequest(id=study))
    _say_state(session, response.study, f"next: assay study resume {study}")


@command(app, "resume")
async def resume(session: Session, study: StudyId) -> None:
    """Continue a paused, cancelled or failed study; only what is missing is run."""
    async with coordinator(session) as stub:
        response = await call(stub.ResumeStudy, coordination_pb2.ResumeStudyRequest(id=study))
    _say_state(session, response.study, f"next: assay study watch {study}")


@command(app, "extend")
async def extend(
    session: Session,
    study: StudyId,
    rows: Annotated[
        int, typer.Option(min=0, help="Rows per scenario to have at least; 0: what decides.")
    ] = 0,
) -> None:
    """Add rows to a study that could not decide; what is generated is kept."""
    request = coordination_pb2.ExtendStudyRequest(id=study, rows=rows)
    async with coordinator(session) as stub:
        response = await call(stub.ExtendStudy, request, timeout=_CREATE_TIMEOUT_SECONDS)
    made = response.study

    def render() -> None:
        session.output.line(made.meta.id)
        session.output.note(
            f"{made.spec.row_limit:,} rows per scenario; intervals at "
            f"{100 * made.extension.confidence_level:.4g} %, because this is another look"
        )
        session.output.note(f"next: assay study watch {made.meta.id}")

    session.output.result(response, render)


@command(app, "delete")
async def delete(
    session: Session,
    study: StudyId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a study and its report; generations and artifacts stay for others."""
    if not yes:
        typer.confirm(f"delete study {study} and its report?", abort=True, err=True)
    async with coordinator(session) as stub:
        await call(stub.DeleteStudy, coordination_pb2.DeleteStudyRequest(id=study))
    session.output.result({"deleted": study}, lambda: session.output.line(f"deleted {study}"))


async def _run(session: Session, spec: coordination_pb2.StudySpec, *, ours: bool) -> ExitCode:
    task = asyncio.current_task()
    if ours and task is not None:
        # As asyncio does with SIGINT: an exception out of its loop would show as a traceback.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with coordinator(session) as stub:
        study = await _unfinished(session, stub, spec)
        if study is None:
            study = await _create(session, stub, spec)
            session.output.note(f"study {study.meta.id}: {spec.name}")
        else:
            # A run that was interrupted goes on; a second study would only compete with it.
            session.output.note(f"study {study.meta.id}: {spec.name}, goes on where it was")
            if study.meta.state == common_pb2.STATE_PAUSED:
                await call(stub.ResumeStudy, coordination_pb2.ResumeStudyRequest(id=study.meta.id))
        return await _follow(session, stub, study.meta.id, ours=ours)


async def _unfinished(
    session: Session, stub: Stub, spec: coordination_pb2.StudySpec
) -> coordination_pb2.Study | None:
    """The newest study that this command made of the same file and that has not ended."""
    prefix = _request_prefix(spec)
    for state in ("RUNNING", "QUEUED", "PAUSED"):
        request = coordination_pb2.ListStudiesRequest(
            project=session.settings.project,
            options=common_pb2.ListOptions(page_size=100, filter=f'state = "{state}"'),
        )
        response = await call(stub.ListStudies, request)
        for study in response.studies:
            if study.meta.request_id.startswith(prefix):
                return study
    return None


def _request_prefix(spec: coordination_pb2.StudySpec) -> str:
    """What the request ids of all runs of one study file begin with."""
    return f"cli-{hashlib.sha256(spec.SerializeToString(deterministic=True)).hexdigest()[:32]}-"


async def _create(
    session: Session, stub: Stub, spec: coordination_pb2.StudySpec
) -> coordination_pb2.Study:
    request = coordination_pb2.CreateStudyRequest(
        project=session.settings.project,
        # One id per command: retries of the call are one study, a second run is another.
        request_id=_request_prefix(spec) + uuid.uuid4().hex,
        spec=spec,
    )
    response = await call(stub.CreateStudy, request, timeout=_CREATE_TIMEOUT_SECONDS)
    return response.study


async def _follow(session: Session, stub: Stub, study: str, *, ours: bool) -> ExitCode:
    try:
        return await follow(stub, study, session.settings.patience_seconds, session.output)
    except asyncio.CancelledError:
        if ours:
            # Else it would go on by itself, unasked, when the services are up for another study.
            with contextlib.suppress(AssayError):
                await call(
                    stub.PauseStudy,
                    coordination_pb2.PauseStudyRequest(id=study),
                    timeout=_PAUSE_TIMEOUT_SECONDS,
                )
            raise Interrupted(
                f"study {study} stops with the services; everything done is kept",
                f"next: assay up && assay study resume {study} && assay study watch {study}",
            ) from None
        raise Interrupted(
            f"study {study} goes on in the background",
            f"next: assay study watch {study}    (or: assay study cancel {study})",
        ) from None


async def _plan(session: Session, spec: coordination_pb2.StudySpec) -> ExitCode:
    request = coordination_pb2.PlanStudyRequest(project=session.settings.project, spec=spec)
    async with coordinator(session) as stub:
        response = await call(stub.PlanStudy, request, timeout=_PLAN_TIMEOUT_SECONDS)
    session.output.result(response, lambda: _show_plan(session, response))
    return ExitCode.OK


def _show_plan(session: Session, plan: coordination_pb2.PlanStudyResponse) -> None:
    output = session.output
    variants = plain_table("variant", "artifact")
    for variant in plan.variants:
        made = "exists" if variant.artifact_exists else "to be made"
        is_endpoint = variant.key.startswith("endpoint:")
        variants.add_row(variant.key, "none: an endpoint" if is_endpoint else made)
    output.show(variants)
    scenarios = plain_table("dimension", "scenario", "samples", "of", "completions", "note")
    for dimension in plan.dimensions:
        if dimension.problem:
            scenarios.add_row(dimension.dimension, "", "", "", "", dimension.problem)
        for scenario in dimension.scenarios:
            scenarios.add_row(
                dimension.dimension,
                scenario.scenario,
                f"{scenario.samples:,}",
                f"{scenario.samples_expected:,}",
                f"{scenario.samples * scenario.completions_per_sample:,}",
                scenario.missing_reason,
            )
    output.show(scenarios)
    for problem in plan.missing:
        output.line(f"missing: {problem}")
    output.line(
        f"at most {plan.completions:,} completions and {plan.completion_tokens:,} new tokens "
        f"over {len(plan.variants)} variants; {plan.completions_stored:,} completions are stored"
    )
    output.line(
        f"engine time about {words.seconds(plan.engine_seconds)} at "
        f"{plan.tokens_per_second:,.0f} tokens/s (ASSAY_COORDINATOR_PLAN_TOKENS_PER_SECOND)"
    )
    if plan.HasField("disk_bytes"):
        output.line(f"disk about {words.size(plan.disk_bytes)}")


def _show(session: Session, study: coordination_pb2.Study) -> None:
    output = session.output
    output.line(f"{study.meta.id}  {study.spec.name}  {words.state(study.meta.state)}")
    if study.meta.HasField("error"):
        output.line(f"error: {study.meta.error.message}")
    table = plain_table("variant", "dimension", "state", "completions", "score", "error")
    for variant in study.variants:
        table.add_row(variant.key, "", words.state(variant.state), "", "", variant.error.message)
        for evaluation in variant.evaluations:
            progress, score = evaluation.progress, evaluation.score
            table.add_row(
                "",
                evaluation.dimension,
                words.state(evaluation.state),
                f"{progress.completed:,}/{progress.total:,}",
                f"{score.value:.1f}" if score.HasField("value") else "",
                evaluation.error.message,
            )
    output.show(table)
    if study.report_uri:
        output.line(f"report: {study.report_uri}")


def _say_state(session: Session, study: coordination_pb2.Study, hint: str) -> None:
    def render() -> None:
        session.output.line(f"{study.meta.id}: {words.state(study.meta.state)}")
        session.output.note(hint)

    session.output.result({"study": study}, render)
