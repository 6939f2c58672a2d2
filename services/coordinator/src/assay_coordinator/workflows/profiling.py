"""Measure a variant on the engine that evaluated it, where a study asks for it (`profile`).

It comes after the variant's evaluations, so that it neither slows them nor is slowed by them; other
studies on the same engine go on beside it. No result depends on it, and what it fails with costs
only the measurement.
"""

from __future__ import annotations

from assay_coordinator.domain.progress import ArtifactFacts, ServingLoad
from assay_coordinator.wire import peers as wire
from assay_coordinator.workflows.context import VariantWork
from assay_coordinator.workflows.leases import LeaseKeeper, held_lease
from assay_core.client import call
from assay_core.errors import AssayError
from assay_core.pb import serving_pb2

_LOAD = ServingLoad()
_SECONDS = 300.0


def is_to_be_measured(work: VariantWork) -> bool:
    """Whether the study asks for it and it has not been done; an endpoint cannot be measured."""
    asked = work.run.spec.profile and not work.planned.model.endpoint
    return asked and work.status.measured is None


async def measure(work: VariantWork, keeper: LeaseKeeper) -> None:
    """Measure the variant on a lease that is held; a failure is said and does no harm."""
    if not is_to_be_measured(work):
        return
    await work.set(phase="measuring latency")
    try:
        lease = await keeper.lease()
        request = serving_pb2.ProfileModelRequest(lease_id=lease.id, **_LOAD.model_dump())
        response = await call(work.context.peers.serving.ProfileModel, request, timeout=_SECONDS)
    except AssayError as error:
        await work.say(f"{work.key} was not measured: {error.text}")
    else:
        await work.set(measured=wire.measured(response, _LOAD))


async def measure_alone(work: VariantWork, artifact: ArtifactFacts) -> None:
    """Measure a variant whose evaluations needed no engine."""
    if not is_to_be_measured(work):
        return
    await work.set(phase="loading", state="WAITING_FOR_MODEL")
    try:
        async with held_lease(work, artifact) as keeper:
            await keeper.lease()
            await work.set(state="RUNNING")
            await measure(work, keeper)
    except AssayError as error:
        await work.say(f"{work.key} was not measured: {error.text}")
