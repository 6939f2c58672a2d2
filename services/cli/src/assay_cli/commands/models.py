"""`assay model ...`, `assay generate`: the serving service."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from google.protobuf.duration_pb2 import Duration

from assay_cli import documents, words
from assay_cli.app import Interrupted, Session, command
from assay_cli.commands.engine_options import with_engine_options
from assay_cli.commands.variants import compression, finished
from assay_cli.connect import connected
from assay_cli.job_progress import follow_job
from assay_cli.output import plain_table
from assay_core.client import call, stream
from assay_core.errors import AssayError, InvalidArgument, NotFound, from_proto
from assay_core.pb import common_pb2, compression_pb2, serving_pb2, serving_pb2_grpc
from assay_core.recipes import Dense, Recipe

if TYPE_CHECKING:
    from assay.compression.v1.compression_pb2_grpc import (
        CompressionServiceAsyncStub as CompressionStub,
    )
    from assay.serving.v1.serving_pb2_grpc import ServingServiceAsyncStub as Stub

Id = Annotated[str, typer.Argument(metavar="MODEL", help="Id of the model.")]
Target = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A variant's id, `demo`, a checkpoint's directory, an artifact URI, or "
        "`endpoint:NAME` of an external endpoint.",
    ),
]
_LEASE_SECONDS = 60
_LOAD_TIMEOUT_SECONDS = 900.0
_CREATE_TIMEOUT_SECONDS = 300.0
_ROLES = ("system", "user", "assistant")
_ENDPOINT = "endpoint:"

app = typer.Typer(help="Models in engines.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Adds the commands that stand at the top."""
    command(root, "generate", rich_help_panel="Models")(generate)


@command(app, "load")
@with_engine_options
async def load(session: Session, target: Target, *, engine: serving_pb2.EngineOptions) -> None:
    """Make a model resident in an engine and wait until it answers."""
    uri, digest = await artifact_of(session, target)
    async with serving(session) as stub:
        model, _ = await _resident(session, stub, uri, digest, engine, lease_seconds=0)
    session.output.result({"model": model}, lambda: _show(session, model))


@command(app, "list")
async def list_models(session: Session) -> None:
    """List models, newest first."""
    async with serving(session) as stub:
        request = serving_pb2.ListModelsRequest(project=session.settings.project)
        response = await call(stub.ListModels, request)
    table = plain_table("model", "artifact", "state", "engine", "ready", "leases")
    for model in response.models:
        table.add_row(
            model.meta.id,
            model.artifact_digest[:19],
            words.state(model.meta.state),
            f"{model.engine.family} {model.engine.dtype}".strip(),
            "yes" if model.ready else "no",
            str(model.leases),
        )
    session.output.result(response, lambda: session.output.show(table))


@command(app, "show")
async def show(session: Session, model: Id) -> None:
    """Show a model: its engine, leases, how long its last load took."""
    async with serving(session) as stub:
        response = await call(stub.GetModel, serving_pb2.GetModelRequest(id=model))
    session.output.result(response, lambda: _show(session, response.model))


@command(app, "unload")
async def unload(
    session: Session,
    model: Id,
    force: Annotated[bool, typer.Option("--force", help="Although a lease is held.")] = False,
) -> None:
    """Take a model out of its engine."""
    async with serving(session) as stub:
        request = serving_pb2.UnloadModelRequest(id=model, force=force)
        response = await call(stub.UnloadModel, request, timeout=_LOAD_TIMEOUT_SECONDS)
    session.output.result(response, lambda: session.output.line(f"unloaded {model}"))


@with_engine_options
async def generate(
    session: Session,
    target: Target,
    prompt: Annotated[str, typer.Argument(help="User turn; default: read from stdin.")] = "",
    *,
    engine: serving_pb2.EngineOptions,
    system: Annotated[str, typer.Option(help="System turn.")] = "",
    messages: Annotated[
        Path | None, typer.Option(help="JSON file: a list of {role, content}; `-` is stdin.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Prompt as text, no chat template.")] = False,
    n: Annotated[int, typer.Option("-n", min=1, max=256, help="Completions.")] = 1,
    temperature: Annotated[float, typer.Option(min=0, max=10)] = 1.0,
    top_p: Annotated[float, typer.Option(min=0.0001, max=1)] = 1.0,
    top_k: Annotated[int, typer.Option(min=0, help="0: all.")] = 0,
    max_tokens: Annotated[int, typer.Option(min=1, max=131072)] = 128,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    stop: Annotated[list[str] | None, typer.Option(help="Text that ends it; repeatable.")] = None,
) -> None:
    """Generate completions with a model, loading it first if needed.

    A model that was loaded with engine options is named with the same ones.
    """
    item = serving_pb2.GenerateItem(
        id="prompt",
        n=n,
        seed=seed,
        sampling=serving_pb2.SamplingParameters(
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            max_tokens=max_tokens,
            stop=stop or [],
        ),
    )
    if raw:
        item.text = prompt or _stdin()
    else:
        item.chat.messages.extend(_conversation(prompt, system, messages))
    uri, digest = await artifact_of(session, target)
    async with (
        serving(session) as stub,
        leased(session, stub, uri, digest, engine) as (lease, answering),
    ):
        request = serving_pb2.GenerateRequest(
            lease_id=lease.id, artifact_digest=answering, items=[item]
        )
        completions = [
            completion
            async for response in stream(stub.Generate, _once(request))
            for completion in response.completions
        ]
    completions.sort(key=lambda each: each.index)
    for completion in completions:
        if completion.HasField("error"):
            raise from_proto(completion.error)

    def render() -> None:
        for completion in completions:
            if n > 1:
                session.output.note(f"--- {completion.index}")
            session.output.line(completion.text)

    session.output.result({"artifact_digest": answering, "completions": completions}, render)


async def artifact_of(session: Session, target: str) -> tuple[str, str]:
    """URI and digest of the artifact that a user means; a model means its dense variant."""
    uploaded = "://" in target and target.rstrip("/").rpartition("/")[0].endswith("/artifacts")
    if uploaded or target.startswith(_ENDPOINT):
        return target, ""
    model = documents.locate(target, Path.cwd())
    async with compression(session) as stub:
        variant = await _known_variant(stub, target) if model == target else None
        if variant is None:
            request = compression_pb2.CreateVariantRequest(
                project=session.settings.project,
                model=common_pb2.ModelRef(uri=model),
                recipe=Recipe(method=Dense()).to_proto(),
            )
            response = await call(stub.CreateVariant, request, timeout=_CREATE_TIMEOUT_SECONDS)
            variant = response.variant
        variant = await finished(session, stub, variant)
    return variant.artifact.uri, variant.artifact.digest


async def _known_variant(stub: CompressionStub, identifier: str) -> compression_pb2.Variant | None:
    try:
        request = compression_pb2.GetVariantRequest(id=identifier)
        return (await call(stub.GetVariant, request)).variant
    except NotFound:
        return None


async def _resident(
    session: Session,
    stub: Stub,
    uri: str,
    digest: str,
    engine: serving_pb2.EngineOptions,
    *,
    lease_seconds: int,
) -> tuple[serving_pb2.Model, serving_pb2.Lease]:
    external = uri.startswith(_ENDPOINT)
    request = serving_pb2.LoadModelRequest(
        project=session.settings.project,
        request_id=f"cli-{uuid.uuid4().hex}",
        artifact_uri="" if external else uri,
        artifact_digest=digest,
        endpoint=uri.removeprefix(_ENDPOINT) if external else "",
        options=engine,
        lease_ttl=Duration(seconds=lease_seconds) if lease_seconds else None,
        holder="assay generate" if lease_seconds else "assay model load",
    )
    response = await call(stub.LoadModel, request, timeout=_LOAD_TIMEOUT_SECONDS)
    model = response.model
    if model.meta.state not in words.TERMINAL:
        watched = serving_pb2.WatchModelRequest(id=model.meta.id)
        try:
            last = await follow_job(
                "loading",
                lambda: stream(stub.WatchModel, watched),
                lambda response: response.model.meta,
                session,
            )
        except asyncio.CancelledError:
            raise Interrupted(
                f"model {model.meta.id} goes on loading", f"next: assay model show {model.meta.id}"
            ) from None
        model = last.model
    if model.meta.state != common_pb2.STATE_SUCCEEDED:
        raise from_proto(model.meta.error)
    return model, response.lease


@asynccontextmanager
async def leased(
    session: Session, stub: Stub, uri: str, digest: str, engine: serving_pb2.EngineOptions
) -> AsyncIterator[tuple[serving_pb2.Lease, str]]:
    """A resident model for as long as the context is open."""
    model, lease = await _resident(session, stub, uri, digest, engine, lease_seconds=_LEASE_SECONDS)
    renewal = asyncio.create_task(_renew(stub, lease.id))
    try:
        yield lease, model.artifact_digest
    finally:
        renewal.cancel()
        # What was generated or measured is there; a lease that stays ends by itself.
        with suppress(AssayError):
            await call(stub.ReleaseLease, serving_pb2.ReleaseLeaseRequest(lease_id=lease.id))


async def _renew(stub: Stub, lease_id: str) -> None:
    request = serving_pb2.RenewLeaseRequest(
        lease_id=lease_id, lease_ttl=Duration(seconds=_LEASE_SECONDS)
    )
    while True:
        await asyncio.sleep(_LEASE_SECONDS / 3)
        try:
            await call(stub.RenewLease, request)
        except AssayError:
            return  # Generate itself then says what happened to the lease.


async def _once(request: serving_pb2.GenerateRequest) -> AsyncIterator[serving_pb2.GenerateRequest]:
    yield request


def _conversation(prompt: str, system: str, messages: Path | None) -> list[serving_pb2.ChatMessage]:
    turns = [serving_pb2.ChatMessage(role="system", content=system)] if system else []
    if messages is None:
        return [*turns, serving_pb2.ChatMessage(role="user", content=prompt or _stdin())]
    text = _stdin() if str(messages) == "-" else messages.read_text(encoding="utf-8")
    remedy = 'write [{"role": "user", "content": "..."}]'
    try:
        given = json.loads(text)
        turns += [
            serving_pb2.ChatMessage(role=each["role"], content=each["content"]) for each in given
        ]
    except (ValueError, KeyError, TypeError):
        raise InvalidArgument.of(
            "--messages", "is not a JSON list of {role, content}", remedy=remedy
        ) from None
    if wrong := [turn for turn in turns if turn.role not in _ROLES]:
        raise InvalidArgument.of(
            "--messages",
            f"has a role of {len(wrong[0].role)} characters that there is not",
            remedy=f"use {', '.join(_ROLES)}",
        )
    return turns


def _stdin() -> str:
    if sys.stdin.isatty():
        raise InvalidArgument.of(
            "prompt", "is missing", remedy="give it as an argument or on standard input"
        )
    text = sys.stdin.read().strip()
    if not text:
        raise InvalidArgument.of("prompt", "is empty", remedy="give one on standard input")
    return text


def _show(session: Session, model: serving_pb2.Model) -> None:
    output = session.output
    output.line(f"{model.meta.id}  {words.state(model.meta.state)}")
    engine = model.engine
    output.line(
        f"{engine.family} {engine.version}, {engine.dtype}, context {engine.max_model_len}, "
        f"{engine.device_class}"
    )
    how = "swapped in place" if model.swapped else "loaded"
    output.line(f"{how} in {words.duration(model.load_time):.1f} s, leases {model.leases}")
    output.line(model.artifact_digest)
    output.line(model.artifact_uri)


def serving(session: Session) -> AbstractAsyncContextManager[Stub]:
    """A stub of the serving service."""
    return connected(
        session.endpoints.address("serving"),
        serving_pb2_grpc.ServingServiceStub,
        session.settings,
    )
