"""`assay compress`, `assay variants ...`, `assay recipes`: the compression service."""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from assay_cli import documents, words
from assay_cli.app import Interrupted, Session, command
from assay_cli.connect import connected
from assay_cli.job_progress import follow_job
from assay_cli.output import plain_table
from assay_core.client import call, stream
from assay_core.errors import from_proto
from assay_core.pb import common_pb2, compression_pb2, compression_pb2_grpc
from assay_core.recipes import Recipe

if TYPE_CHECKING:
    from assay.compression.v1.compression_pb2_grpc import CompressionServiceAsyncStub as Stub

Id = Annotated[str, typer.Argument(metavar="VARIANT", help="Id of the variant.")]
# A create reads the checkpoint to know its digest.
_CREATE_TIMEOUT_SECONDS = 300.0

app = typer.Typer(help="Compressed models and their artifacts.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Adds the commands that stand at the top."""
    command(root, "compress", rich_help_panel="Models")(compress)
    command(root, "recipes", rich_help_panel="Models")(recipes)


async def compress(
    session: Session,
    model: Annotated[str, typer.Argument(help="`demo`, a checkpoint's directory, or a URI.")],
    recipe: Annotated[str, typer.Option(help="`dense`, or as `{gptq: {bits: 3}}`.")],
    *,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the calibration draw.")] = 0,
    samples: Annotated[int, typer.Option(min=0, help="Calibration sequences; 0: default.")] = 0,
    wait: Annotated[bool, typer.Option(help="Wait for the artifact.")] = True,
) -> None:
    """Compress a model; an artifact that exists already is returned at once."""
    request = compression_pb2.CreateVariantRequest(
        project=session.settings.project,
        model=common_pb2.ModelRef(uri=documents.locate(model, Path.cwd())),
        recipe=documents.recipe(recipe),
        calibration=common_pb2.Calibration(samples=samples, seed=seed),
    )
    async with compression(session) as stub:
        response = await call(stub.CreateVariant, request, timeout=_CREATE_TIMEOUT_SECONDS)
        variant = response.variant
        if wait:
            variant = await finished(session, stub, variant)
    session.output.result({"variant": variant}, lambda: _show(session, variant))


@command(app, "list")
async def list_variants(
    session: Session,
    filters: Annotated[str, typer.Option("--filter", help="Conditions, AIP-160.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most to show.")] = 100,
) -> None:
    """List variants, newest first."""
    request = compression_pb2.ListVariantsRequest(
        project=session.settings.project,
        options=common_pb2.ListOptions(page_size=limit, filter=filters),
    )
    async with compression(session) as stub:
        response = await call(stub.ListVariants, request)
    table = plain_table("variant", "model", "recipe", "state", "bits/weight", "zeros", "size")
    for variant in response.variants:
        artifact = variant.artifact
        table.add_row(
            variant.meta.id,
            variant.model.uri,
            variant.label,
            words.state(variant.meta.state),
            f"{artifact.bits_per_weight:.2f}" if artifact.digest else "",
            f"{artifact.sparsity:.0%}" if artifact.digest else "",
            words.size(artifact.bytes) if artifact.digest else "",
        )
    session.output.result(response, lambda: session.output.show(table))


@command(app, "show")
async def show(session: Session, variant: Id) -> None:
    """Show a variant: its artifact, how its job ran, what changed in the weights."""
    async with compression(session) as stub:
        response = await call(stub.GetVariant, compression_pb2.GetVariantRequest(id=variant))
    session.output.result(response, lambda: _show(session, response.variant))


@command(app, "register")
async def register_checkpoint(
    session: Session,
    checkpoint: Annotated[str, typer.Argument(help="Directory of the compressed checkpoint.")],
    parent: Annotated[str, typer.Option(help="Its dense parent: `demo`, a directory, a URI.")],
    *,
    dense: Annotated[
        bool, typer.Option("--dense", help="Multiply integers out, so that any engine serves it.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait for the artifact.")] = True,
) -> None:
    """Adopt a checkpoint that was compressed elsewhere (GPTQ, AWQ, compressed-tensors, dense)."""
    request = compression_pb2.RegisterVariantRequest(
        project=session.settings.project,
        checkpoint=common_pb2.ModelRef(uri=documents.locate(checkpoint, Path.cwd())),
        parent=common_pb2.ModelRef(uri=documents.locate(parent, Path.cwd())),
        layout=common_pb2.LAYOUT_DENSE if dense else common_pb2.LAYOUT_UNSPECIFIED,
    )
    async with compression(session) as stub:
        response = await call(stub.RegisterVariant, request, timeout=_CREATE_TIMEOUT_SECONDS)
        variant = response.variant
        if wait:
            variant = await finished(session, stub, variant)
    recipe = json.dumps(Recipe.from_proto(variant.recipe).canonical())

    def show_both() -> None:
        _show(session, variant)
        session.output.line(f"recipe for study files: {recipe}")

    session.output.result({"variant": variant}, show_both)


@command(app, "cancel")
async def cancel(session: Session, variant: Id) -> None:
    """End a compression job; a later one of the same recipe begins where it can."""
    async with compression(session) as stub:
        response = await call(stub.CancelVariant, compression_pb2.CancelVariantRequest(id=variant))
    state = words.state(response.variant.meta.state)
    session.output.result(response, lambda: session.output.line(f"{variant}: {state}"))


@command(app, "delete")
async def delete(
    session: Session,
    variant: Id,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a variant, and its artifact when no other variant shares it."""
    if not yes:
        typer.confirm(f"delete variant {variant}?", abort=True, err=True)
    async with compression(session) as stub:
        response = await call(stub.DeleteVariant, compression_pb2.DeleteVariantRequest(id=variant))
    kept = "" if response.artifact_deleted else "; its artifact stays, another variant shares it"
    session.output.result(response, lambda: session.output.line(f"deleted {variant}{kept}"))


async def recipes(session: Session) -> None:
    """List every recipe: parameters, ranges, defaults, and whether this server runs it."""
    async with compression(session) as stub:
        response = await call(stub.ListRecipes, compression_pb2.ListRecipesRequest())
    table = Table(box=None, pad_edge=False)
    for name in ("recipe", "parameters", "backend", "summary"):
        table.add_column(name)
    for recipe in response.recipes:
        lines = [
            f"{each.name}: {each.allowed}"
            + (f" (default {each.default_value})" if each.default_value else "")
            for each in recipe.parameters
        ]
        lines.append(f"layout: {', '.join(map(words.layout, recipe.layouts))}")
        backend = recipe.backend if recipe.available else f"no: {recipe.unavailable_reason}"
        table.add_row(recipe.method, "\n".join(lines), backend, recipe.summary)
    session.output.result(response, lambda: session.output.show(table))


async def finished(
    session: Session, stub: Stub, variant: compression_pb2.Variant
) -> compression_pb2.Variant:
    """Waits for a variant's artifact, with progress.

    Raises:
        AssayError: Why the job failed.
    """
    request = compression_pb2.WatchVariantRequest(id=variant.meta.id)
    if variant.meta.state not in words.TERMINAL:
        try:
            response = await follow_job(
                variant.label,
                lambda: stream(stub.WatchVariant, request),
                lambda response: response.variant.meta,
                session,
            )
        except asyncio.CancelledError:
            raise Interrupted(
                f"variant {variant.meta.id} goes on in the background",
                f"next: assay variants show {variant.meta.id}",
            ) from None
        variant = response.variant
    if variant.meta.state != common_pb2.STATE_SUCCEEDED:
        raise from_proto(variant.meta.error)
    return variant


def compression(session: Session) -> AbstractAsyncContextManager[Stub]:
    """A stub of the compression service."""
    return connected(
        session.endpoints.address("compression"),
        compression_pb2_grpc.CompressionServiceStub,
        session.settings,
    )


def _show(session: Session, variant: compression_pb2.Variant) -> None:
    output, artifact = session.output, variant.artifact
    found = " (existed already)" if variant.cache_hit else ""
    output.line(f"{variant.meta.id}  {variant.label}  {words.state(variant.meta.state)}{found}")
    if variant.meta.HasField("error"):
        output.line(f"error: {variant.meta.error.message}")
    if not artifact.digest:
        return
    output.line(
        f"{words.size(artifact.bytes)}, {artifact.parameters:,} parameters, "
        f"{artifact.bits_per_weight:.2f} bits per compressed weight, {artifact.sparsity:.0%} zeros"
    )
    if artifact.HasField("run"):
        output.line(
            f"made in {words.seconds(words.duration(artifact.run.wall_time))} with "
            f"{artifact.run.backend} on {artifact.run.device}, "
            f"peak memory {words.size(artifact.run.peak_memory_bytes)}"
        )
    output.line(artifact.digest)
    output.line(artifact.uri)
