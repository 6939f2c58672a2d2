"""`assay model profile`: latency, throughput and memory of a model, measured."""

from __future__ import annotations

from typing import Annotated

import typer

from assay_cli import words
from assay_cli.app import Session, command
from assay_cli.commands.engine_options import with_engine_options
from assay_cli.commands.models import Target, artifact_of, leased, serving
from assay_core.client import call
from assay_core.pb import serving_pb2

_TIMEOUT_SECONDS = 900.0


def register(app: typer.Typer) -> None:
    """Adds the command to `assay model`."""
    command(app, "profile")(profile)


@with_engine_options
async def profile(
    session: Session,
    target: Target,
    *,
    engine: serving_pb2.EngineOptions,
    requests: Annotated[int, typer.Option(min=1, max=10_000, help="Requests in all.")] = 64,
    concurrency: Annotated[int, typer.Option(min=1, max=1024, help="Requests in flight.")] = 8,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens of prompt and of completion.")] = 128,
) -> None:
    """Measure a model: time to first token, tokens per second, memory of its engine.

    Prompts are random tokens. What else runs on the engine goes on beside it.
    """
    uri, digest = await artifact_of(session, target)
    async with (
        serving(session) as stub,
        leased(session, stub, uri, digest, engine) as (lease, _),
    ):
        request = serving_pb2.ProfileModelRequest(
            lease_id=lease.id,
            prompt_tokens=tokens,
            completion_tokens=tokens,
            concurrency=concurrency,
            requests=requests,
        )
        found = await call(stub.ProfileModel, request, timeout=_TIMEOUT_SECONDS)

    def render() -> None:
        first, late = (1000 * words.duration(t) for t in (found.ttft_p50, found.ttft_p95))
        session.output.line(f"first token  {first:.0f} ms median, {late:.0f} ms 95th percentile")
        session.output.line(f"throughput   {found.tokens_per_second:.1f} tokens/s")
        session.output.line(f"memory       {words.size(found.memory_bytes)}")

    session.output.result(found, render)
