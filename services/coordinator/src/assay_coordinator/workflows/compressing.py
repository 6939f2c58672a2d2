"""Step: have a variant made by the compression service, or find the endpoint that it is."""

from __future__ import annotations

import asyncio

from assay_coordinator.domain.progress import Job
from assay_coordinator.peers import latest
from assay_coordinator.wire import peers as wire
from assay_coordinator.workflows.context import VariantWork
from assay_coordinator.workflows.turns import Resource
from assay_core.client import stream
from assay_core.errors import AssayError, is_retryable
from assay_core.pb import compression_pb2

_NAME = "compression"
_WRITE_SECONDS = 0.5
_TERMINAL = {"SUCCEEDED", "FAILED", "CANCELLED"}


async def make_variant(work: VariantWork) -> bool:
    """Create the variant and follow it to its end; an existing artifact is a cache hit.

    Returns:
        Whether there is an artifact. A failure is written down and does not sink the study.
    """
    if work.status.artifact is not None:
        return True
    if work.planned.model.endpoint:
        return await _find_endpoint(work)
    if work.planned.variant_id:
        return await _find_variant(work)
    await work.set(state="QUEUED", phase="queued for compression", error=None)
    try:
        async with work.turn(Resource.COMPRESSION):
            work.placed.set()
            await work.set(state="RUNNING", phase="compressing")
            variant = await _follow(work)
    except AssayError as error:
        await work.fail(error)
        return False
    await work.drop_job(Job(kind="variant", id=variant.meta.id))
    if wire.state_name(variant.meta.state) != "SUCCEEDED":
        await work.fail(wire.failure(variant.meta, f"variant {variant.meta.id}"))
        return False
    artifact = wire.artifact(variant)
    progress = wire.progress(variant.meta.progress)
    # It waits for its turn to be evaluated.
    await work.set(artifact=artifact, state="QUEUED", phase="compressed", compression=progress)
    how = "was there already" if artifact.cache_hit else f"took {artifact.wall_seconds:.1f} s"
    await work.say(f"{work.key}: artifact {how}")
    return True


async def _find_endpoint(work: VariantWork) -> bool:
    """Nothing is made of an endpoint; serving says what identifies it."""
    request = wire.describe_request(work.run.project, endpoint=work.planned.model.endpoint)
    try:
        described = await work.call(work.context.peers.serving.DescribeEngine, request, "serving")
    except AssayError as error:
        await work.fail(error)
        return False
    artifact = wire.endpoint_artifact(work.planned.model, described)
    await work.set(artifact=artifact, state="QUEUED", phase="found", error=None)
    return True


async def _find_variant(work: VariantWork) -> bool:
    """A variant that exists is used as it is."""
    get = compression_pb2.GetVariantRequest(id=work.planned.variant_id)
    try:
        answer = await work.call(work.context.peers.compression.GetVariant, get, _NAME)
    except AssayError as error:
        await work.fail(error)
        return False
    variant = answer.variant
    if wire.state_name(variant.meta.state) != "SUCCEEDED":
        await work.fail(wire.failure(variant.meta, f"variant {variant.meta.id}"))
        return False
    await work.set(
        artifact=wire.artifact(variant),
        variant_id=variant.meta.id,
        state="QUEUED",
        phase="found",
        error=None,
    )
    return True


async def _follow(work: VariantWork) -> compression_pb2.Variant:
    """The variant in a terminal state, created again after every interruption."""
    compression = work.context.peers.compression
    request = compression_pb2.CreateVariantRequest(
        project=work.run.project,
        request_id=work.run.request_id("variant", work.key),
        model=wire.model_ref(work.planned.model),
        recipe=work.planned.recipe.to_proto(),
        calibration=work.planned.calibration.to_proto(),
    )
    while True:
        variant = (await work.call(compression.CreateVariant, request, _NAME)).variant
        await work.put_job(Job(kind="variant", id=variant.meta.id))
        await work.set(variant_id=variant.meta.id)
        variant = await _watch(work, variant)
        if wire.state_name(variant.meta.state) in _TERMINAL:
            # Watch and Create leave out what is large; Get has everything.
            get = compression_pb2.GetVariantRequest(id=variant.meta.id)
            return (await work.call(compression.GetVariant, get, _NAME)).variant
        await asyncio.sleep(0.5)  # the stream ended early: the service restarts


async def _watch(work: VariantWork, variant: compression_pb2.Variant) -> compression_pb2.Variant:
    """Follow the job until its stream ends; the last state seen."""
    if wire.state_name(variant.meta.state) in _TERMINAL:
        return variant
    request = compression_pb2.WatchVariantRequest(id=variant.meta.id)
    updates = stream(work.context.peers.compression.WatchVariant, request)
    try:
        async for update in latest(updates, every=_WRITE_SECONDS):
            variant = update.variant
            progress = wire.progress(variant.meta.progress)
            await work.set(compression=progress, phase=progress.phase or "compressing")
    except AssayError as error:
        if not is_retryable(error):
            raise
    return variant
