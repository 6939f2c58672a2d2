"""Step: have a variant made by the compression service."""

from __future__ import annotations

import asyncio
import time

from assay_coordinator.domain.matrix import PlannedVariant
from assay_coordinator.domain.progress import Job
from assay_coordinator.wire import peers as wire
from assay_coordinator.workflows.context import Context, Reporter, Run
from assay_core.client import call, stream
from assay_core.errors import AssayError, is_retryable
from assay_core.pb import compression_pb2

_WRITE_SECONDS = 0.5
_TERMINAL = {"SUCCEEDED", "FAILED", "CANCELLED"}


async def make_variant(
    context: Context, run: Run, planned: PlannedVariant, reporter: Reporter
) -> bool:
    """Create the variant and follow it to its end; an existing artifact is a cache hit.

    Returns:
        Whether there is an artifact. A failure is written down and does not sink the study.
    """
    if reporter.variant.artifact is not None:
        return True
    await reporter.set(state="RUNNING", phase="compressing", error=None)
    try:
        variant = await _follow(context, run, planned, reporter)
    except AssayError as error:
        await reporter.fail(error)
        return False
    await context.store.drop_job(run.study_id, Job(kind="variant", id=variant.meta.id))
    state = wire.state_name(variant.meta.state)
    if state != "SUCCEEDED":
        await reporter.fail(wire.failure(variant.meta, f"variant {variant.meta.id}"))
        return False
    artifact = wire.artifact(variant)
    await reporter.set(
        artifact=artifact, phase="compressed", compression=wire.progress(variant.meta.progress)
    )
    how = "was there already" if artifact.cache_hit else f"took {artifact.wall_seconds:.1f} s"
    await reporter.say(f"{planned.key}: artifact {how}")
    return True


async def _follow(
    context: Context, run: Run, planned: PlannedVariant, reporter: Reporter
) -> compression_pb2.Variant:
    request = compression_pb2.CreateVariantRequest(
        project=run.project,
        request_id=run.request_id("variant", planned.key),
        model=wire.model_ref(planned.model),
        recipe=planned.recipe.to_proto(),
        calibration=planned.calibration.to_proto(),
    )
    stub = context.peers.compression

    async def create() -> compression_pb2.Variant:
        return (await call(stub.CreateVariant, request)).variant

    while True:
        variant = await reporter.patiently(create, "compression")
        job = Job(kind="variant", id=variant.meta.id)
        await context.store.put_job(run.study_id, job)
        await reporter.set(variant_id=variant.meta.id)
        try:
            variant = await _watch(context, variant, reporter)
        except AssayError as error:
            if not is_retryable(error):
                raise
        if wire.state_name(variant.meta.state) in _TERMINAL:
            # Watch and Create leave out what is large; Get has everything.
            get = compression_pb2.GetVariantRequest(id=variant.meta.id)

            async def read() -> compression_pb2.Variant:
                return (await call(stub.GetVariant, get)).variant

            found = await reporter.patiently(read, "compression")
            found.cache_hit = found.cache_hit or variant.cache_hit
            return found
        await asyncio.sleep(0.5)  # the stream ended early: the service restarts


async def _watch(
    context: Context, variant: compression_pb2.Variant, reporter: Reporter
) -> compression_pb2.Variant:
    """Follow the job until its stream ends; the last state seen."""
    if wire.state_name(variant.meta.state) in _TERMINAL:
        return variant
    written = 0.0
    request = compression_pb2.WatchVariantRequest(id=variant.meta.id)
    async for update in stream(context.peers.compression.WatchVariant, request):
        variant = update.variant
        if time.monotonic() - written >= _WRITE_SECONDS:
            written = time.monotonic()
            progress = wire.progress(variant.meta.progress)
            phase = f"compressing: {progress.phase}" if progress.phase else "compressing"
            await reporter.set(compression=progress, phase=phase)
    return variant
