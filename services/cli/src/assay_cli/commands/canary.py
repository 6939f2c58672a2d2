"""`assay canary`, `assay canaries`: a team's own prompts through two variants, under a load."""

from __future__ import annotations

import asyncio
import importlib
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from assay_cli import words
from assay_cli.app import Exit, Interrupted, Session, command
from assay_cli.commands.data import upload_pack
from assay_cli.coordinator import Filter, Limit, coordinator
from assay_cli.failures import ExitCode, render_error
from assay_cli.job_progress import follow_job
from assay_cli.output import plain_table
from assay_cli.study_summary import gate_exit_code
from assay_cli.study_watch import local_path
from assay_core.client import call, stream
from assay_core.errors import InvalidArgument, NotFound, from_proto
from assay_core.pb import common_pb2, coordination_pb2

if TYPE_CHECKING:
    from assay.coordination.v1.coordination_pb2_grpc import CoordinationServiceAsyncStub as Stub

_CREATE_TIMEOUT_SECONDS = 120.0
_NAMES = "STUDY:VARIANT, a variant id, an artifact digest, or endpoint:NAME"
_SHARES = ("agreement", "similarity")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    command(app, "canary", rich_help_panel="Results")(canary)
    command(app, "canaries", rich_help_panel="Results")(canaries)


async def canary(
    session: Session,
    variant: Annotated[
        str, typer.Argument(metavar="[VARIANT]", help=f"What is to be deployed: {_NAMES}.")
    ] = "",
    reference: Annotated[
        str, typer.Argument(metavar="[REFERENCE]", help="What runs now, named in the same ways.")
    ] = "",
    *,
    prompts: Annotated[
        str,
        typer.Option(
            help='JSON Lines, {"messages": [{"role": "user", "content": ...}]} a line: a file '
            "here, which is uploaded, or a URI that the evaluator allows."
        ),
    ] = "",
    rate: Annotated[
        float, typer.Option(min=0.0, help="Requests per second, whatever the answers do; 0: none.")
    ] = 0.0,
    concurrency: Annotated[
        int, typer.Option(min=0, help="Requests in flight instead; 0: 8 unless --rate is given.")
    ] = 0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Most new tokens.")] = 128,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Of arrivals, sampling, choice of rows.")] = 0,
    limit: Annotated[int, typer.Option(min=0, help="Most prompts; 0: all.")] = 0,
    min_agreement: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least share of equal answers.")
    ] = None,
    min_similarity: Annotated[
        float | None, typer.Option(min=0, max=1, help="Least mean similarity of answers.")
    ] = None,
    max_refusal_shift: Annotated[
        float | None, typer.Option(min=0, max=1, help="Largest change of refusals either way.")
    ] = None,
    max_toxicity_shift: Annotated[
        float | None, typer.Option(min=0, max=1, help="Largest growth of the mean toxicity.")
    ] = None,
    max_length_shift: Annotated[
        float | None, typer.Option(min=0, help="Largest relative change of length either way.")
    ] = None,
    max_latency_shift: Annotated[
        float | None, typer.Option(min=0, help="Largest relative growth of the mean latency.")
    ] = None,
    follow: Annotated[
        str, typer.Option(metavar="CANARY", help="Follow this one; goes on if it had ended early.")
    ] = "",
    cancel: Annotated[
        str, typer.Option(metavar="CANARY", help="End this one; what was replayed is kept.")
    ] = "",
) -> None:
    """Replay your own prompts through two variants: what changes, and how fast each is.

    Agreement, refusals, toxicity and length with paired intervals; latency and throughput side by
    side. With limits it ends as a gate does: 0 pass, 1 fail, 3 undecided.
    """
    async with coordinator(session) as stub:
        if cancel:
            await _cancel(session, stub, cancel)
            return
        if not follow:
            gate = coordination_pb2.CanaryGate(
                min_agreement=min_agreement,
                min_similarity=min_similarity,
                max_refusal_shift=max_refusal_shift,
                max_toxicity_shift=max_toxicity_shift,
                max_length_shift=max_length_shift,
                max_latency_shift=max_latency_shift,
            )
            spec = coordination_pb2.CanarySpec(
                variant=variant,
                reference=reference,
                arrival_rate=rate,
                concurrency=concurrency,
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
                row_limit=limit,
                gate=gate,
            )
            follow = await _create(session, stub, spec, prompts)
        else:
            await _go_on(session, stub, follow)
        raise Exit(await _follow(session, stub, follow))


async def canaries(
    session: Session,
    filters: Filter = "",
    limit: Limit = 50,
) -> None:
    """List canaries, newest first."""
    request = coordination_pb2.ListCanariesRequest(
        project=session.settings.project,
        options=common_pb2.ListOptions(page_size=limit, filter=filters),
    )
    async with coordinator(session) as stub:
        response = await call(stub.ListCanaries, request)
    table = plain_table("canary", "state", "verdict", "created", "answer", wraps="answer")
    for each in response.canaries:
        table.add_row(
            each.meta.id,
            words.state(each.meta.state),
            words.verdict(each.gate_result.verdict),
            words.moment(each.meta.create_time),
            each.headline,
        )
    session.output.result(response, lambda: session.output.show(table))


async def _create(
    session: Session, stub: Stub, spec: coordination_pb2.CanarySpec, prompts: str
) -> str:
    for name, value in (("VARIANT", spec.variant), ("REFERENCE", spec.reference)):
        if not value:
            raise InvalidArgument.of(name, "is missing", remedy=f"name it: {_NAMES}")
    if not prompts:
        raise InvalidArgument.of(
            "--prompts", "is missing", remedy="name a JSON Lines file of chat messages"
        )
    spec.prompts_uri = prompts if "://" in prompts else await _upload(session, _file(prompts))
    request = coordination_pb2.CreateCanaryRequest(
        project=session.settings.project,
        # One id per command: retries of the call are one canary, a second run is another.
        request_id=f"cli-{uuid.uuid4().hex}",
        spec=spec,
    )
    response = await call(stub.CreateCanary, request, timeout=_CREATE_TIMEOUT_SECONDS)
    return response.canary.meta.id


def _file(name: str) -> Path:
    file = Path(name).expanduser()
    if not file.is_file():
        raise NotFound(
            f"there is no file {file}", field="--prompts", remedy="name a JSON Lines file"
        )
    return file


async def _upload(session: Session, file: Path) -> str:
    """The file as a pack in the services' store: they need not see this machine's disk."""
    packs = importlib.import_module("assay_cli.packs")
    with tempfile.TemporaryDirectory(prefix="assay-prompts-") as scratch:
        folder = Path(scratch) / "pack"
        await asyncio.to_thread(packs.pack_of_prompts, file, folder)
        session.output.note(f"uploading {file.name}")
        pack = await upload_pack(session, folder)
    return pack.uri


async def _go_on(session: Session, stub: Stub, canary_id: str) -> None:
    """Continues a canary that was cancelled or failed; others are only followed."""
    get = coordination_pb2.GetCanaryRequest(id=canary_id)
    found = (await call(stub.GetCanary, get)).canary
    if found.meta.state in (common_pb2.STATE_CANCELLED, common_pb2.STATE_FAILED):
        await call(stub.ResumeCanary, coordination_pb2.ResumeCanaryRequest(id=canary_id))
        session.output.note(f"canary {canary_id} goes on where it was")


async def _cancel(session: Session, stub: Stub, canary_id: str) -> None:
    request = coordination_pb2.CancelCanaryRequest(id=canary_id)
    response = await call(stub.CancelCanary, request)

    def render() -> None:
        session.output.line(f"{canary_id}: {words.state(response.canary.meta.state)}")
        session.output.note(f"next: assay canary --follow {canary_id}")

    session.output.result(response, render)


async def _follow(session: Session, stub: Stub, canary_id: str) -> ExitCode:
    request = coordination_pb2.WatchCanaryRequest(id=canary_id)
    try:
        await follow_job(
            f"canary {canary_id}",
            lambda: stream(stub.WatchCanary, request),
            lambda response: response.canary.meta,
            session,
        )
    except asyncio.CancelledError:
        raise Interrupted(
            f"canary {canary_id} goes on in the background",
            f"next: assay canary --follow {canary_id}    (or: assay canary --cancel {canary_id})",
        ) from None
    get = coordination_pb2.GetCanaryRequest(id=canary_id)
    response = await call(stub.GetCanary, get)
    session.output.result(response, lambda: _show(session, response.canary))
    return _exit_code(response.canary)


def _exit_code(found: coordination_pb2.Canary) -> ExitCode:
    if found.meta.state != common_pb2.STATE_SUCCEEDED:
        return ExitCode.ERROR
    return gate_exit_code(found.gate_result) if found.HasField("gate_result") else ExitCode.OK


def _show(session: Session, found: coordination_pb2.Canary) -> None:
    output = session.output
    if found.HasField("variant"):
        output.show(_sides(found))
        output.show(_measures(found))
        for gate in found.gate_result.variants:
            for reason in gate.reasons:
                output.line(reason)
    if found.meta.state != common_pb2.STATE_SUCCEEDED:
        if found.meta.HasField("error"):
            render_error(from_proto(found.meta.error), output)
        output.note(f"canary {found.meta.id} is {words.state(found.meta.state)}")
        output.note(f"next: assay canary --follow {found.meta.id}")
    if found.headline:
        output.line("")
        output.line(found.headline)
    if found.report_uri:
        output.line(local_path(found.report_uri) or found.report_uri)


def _sides(found: coordination_pb2.Canary) -> Table:
    """What each side did, a column for each."""
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    sides = (found.reference, found.variant)
    for side, role in zip(sides, ("reference", "variant"), strict=True):
        table.add_column(f"{side.key}\n{role}", justify="right")
    rows = {
        "prompts": [f"{side.prompts:,}" for side in sides],
        "answered": [f"{side.answered:,}" for side in sides],
        "refused": [f"{side.refused:,}" for side in sides],
        "empty": [f"{side.unparsable:,}" for side in sides],
        "too long": [f"{side.overlength:,}" for side in sides],
        "mean length": [f"{side.mean_completion_tokens:.1f} tokens" for side in sides],
        "mean toxicity": [
            f"{side.mean_toxicity:.3f}" if side.HasField("mean_toxicity") else "-" for side in sides
        ],
        "latency p50": [_milliseconds(words.duration(side.latency_p50)) for side in sides],
        "latency p95": [_milliseconds(words.duration(side.latency_p95)) for side in sides],
        "latency p99": [_milliseconds(words.duration(side.latency_p99)) for side in sides],
        "throughput": [f"{side.completions_per_second:.2f} completions/s" for side in sides],
        "": [f"{side.tokens_per_second:.1f} tokens/s" for side in sides],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _measures(found: coordination_pb2.Canary) -> Table:
    """What changed, with its interval and how it stands to its limit."""
    table = plain_table("measure", "value [95 % interval]", "limit", "")
    for each in found.measures:
        sign = "" if each.name in _SHARES else "+"
        ends = (each.value, each.interval_low, each.interval_high)
        value, low, high = (f"{100 * end:{sign}.1f}" for end in ends)
        table.add_row(
            each.name.replace("_", " "),
            f"{value} % [{low}, {high}]",
            f"{100 * each.limit:g} %" if each.HasField("limit") else "",
            words.VERDICT_MARKS.get(each.verdict, ""),
        )
    return table


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.0f} ms"
