"""The models of this server: loading, leasing, unloading.

Ties together artifacts (what to load), engines (where), leases (who may use it) and records (what
Get, List and Watch show). Knows no protobuf.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from assay_core.auth import LOCAL, Principal
from assay_core.digest import digest_of, hex_of
from assay_core.errors import FailedPrecondition, InvalidArgument, Unavailable
from assay_serving.description import Description, describe, describe_endpoint
from assay_serving.domain import EXTERNAL, EngineOptions
from assay_serving.endpoints import find_endpoint
from assay_serving.engine_host import Engine
from assay_serving.engine_ports import not_resident
from assay_serving.engines import Engines
from assay_serving.lease_directory import LeaseDirectory
from assay_serving.leases import Lease, LeaseState
from assay_serving.recorder import ModelRecorder
from assay_serving.registry import Model, ModelRecord, ModelRegistry
from assay_serving.residency import check_fits
from assay_serving.runtime import Runtime
from assay_serving.settings import ServingSettings


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What a caller asks of LoadModel; `ttl` 0 asks for residency without a lease.

    `endpoint` names an external endpoint instead of an artifact.
    """

    project: str
    artifact_uri: str = ""
    artifact_digest: str = ""
    request_id: str = ""
    options: EngineOptions = field(default_factory=EngineOptions)
    ttl: float = 0.0
    holder: str = ""
    endpoint: str = ""


class ModelManager:
    """Loads, leases and unloads.

    Args:
        settings: Limits and allowed places.
        runtime: Ray Serve.
        endpoints: The runtime of external endpoints.
        registry: Where models are recorded.
        clock: Monotonic seconds, for leases and least-recently-used.
    """

    def __init__(
        self,
        settings: ServingSettings,
        runtime: Runtime,
        endpoints: Runtime,
        registry: ModelRegistry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._leases = LeaseDirectory()
        self._recorder = ModelRecorder(registry)
        self._engines = Engines(settings, runtime, endpoints, self._recorder, clock)
        self._draining = False

    async def describe(self, request: LoadRequest) -> Description:
        """What would serve an artifact or endpoint. Starts nothing.

        Raises:
            InvalidArgument: Both are named, or an engine is to be set up that is not ours.
        """
        if not request.endpoint:
            return await asyncio.to_thread(
                describe,
                self._settings,
                request.artifact_uri,
                request.options,
                request.artifact_digest,
            )
        if request.artifact_uri or request.options != EngineOptions():
            raise InvalidArgument.of(
                "endpoint",
                "is given together with an artifact or engine options",
                remedy="give its name only: it is a model and an engine by itself",
            )
        found = find_endpoint(self._settings.endpoints, request.endpoint, request.project)
        if request.artifact_digest not in ("", found.digest):
            raise FailedPrecondition.of(
                "artifact_digest",
                f"is {request.artifact_digest}, but endpoint {found.name} is {found.digest} now",
                reason="DIGEST_MISMATCH",
                remedy="the operator has changed it: take its digest from DescribeEngine anew",
            )
        return describe_endpoint(found)

    async def load(self, request: LoadRequest) -> tuple[ModelRecord, Lease | None]:
        """Queue an artifact for its engine; the lease is pending until it is resident.

        Without a lease the model is wanted from now on: see `reconciler`.

        The same request id returns the same lease while that is pending or held; after its end the
        same request is a new one, so that a caller who lost its lease may just ask again.

        Raises:
            AlreadyExists: The request id is in use for another artifact.
            ResourceExhausted: Its engine alone passes the memory budget.
        """
        if self._draining:
            raise _draining()
        description = await self.describe(request)
        artifact = description.artifact
        check_fits(description.memory_bytes, self._settings.limits, "this engine")
        await asyncio.to_thread(lambda: artifact.digest)
        model = self._model(request, description)
        ttl = min(request.ttl, self._settings.max_lease_seconds)
        lease = Lease(_lease_id(), model.id, artifact.digest, ttl, request.holder)
        key = (request.project, request.request_id) if request.request_id else None
        if key is not None and (known := self._leases.repeated(key, model.id)) is not None:
            # The first call may not have come to recording it yet.
            await self._registry.put(model, request.request_id)
            return await self._registry.get(known.model_id), known
        engine = self._engines.of(description)
        if ttl > 0:
            self._leases.add(lease, engine, key)
        try:
            await self._registry.put(model, request.request_id)
            if ttl == 0:
                await self._registry.want(model.id, request.options)
            await engine.request(artifact, lease)
            await self._recorder.requested(engine, lease, request.request_id)
            return await self._registry.get(model.id), lease if ttl > 0 else None
        except BaseException:
            if ttl > 0:
                # Nobody has been told of the lease: the same request again is a new one.
                self.release(lease.id)
                lease.state = LeaseState.ENDED
            raise

    async def unload(
        self, model_id: str, *, force: bool, principal: Principal = LOCAL
    ) -> ModelRecord:
        """Take a model out of its engine, or out of the queue for it. Idempotent.

        Waits for generations that are in flight; no new ones enter. Weights are shared by projects:
        what another one needs is not the caller's to take away.

        Raises:
            FailedPrecondition: A lease is held on it, and `force` is not set; or a project that
                `principal` may not see wants, leases or waits for the same weights.
        """
        known = await self._registry.get(model_id)
        model = known.model
        if known.wanted:
            await self._registry.unwant(model_id)
        engine = self._engines.get(model.engine_id)
        if engine is None or (known.record.is_terminal and not known.ready):
            return known
        if await self._needed_elsewhere(model, engine, principal):
            raise FailedPrecondition(
                f"model {model_id} shares its weights with another project, which needs them",
                reason="MODEL_SHARED",
                remedy="they go when nobody needs them; a token that sees all projects can unload",
                resource=f"model/{model_id}",
            )
        held = engine.book.held(model.artifact_digest)
        if held and not force:
            raise FailedPrecondition(
                f"model {model_id} has {len(held)} leases",
                reason="MODEL_LEASED",
                remedy="release them, wait for their end, or set `force`",
                metadata={"leases": str(len(held))},
                resource=f"model/{model_id}",
            )
        engine.book.end_artifact(model.artifact_digest)
        engine.changed()
        if engine.resident == model.artifact_digest:
            await engine.end("unloaded")
        else:
            await self._recorder.left(engine, model.artifact_digest, "unloaded")
        return await self._registry.get(model_id)

    async def _needed_elsewhere(self, model: Model, engine: Engine, principal: Principal) -> bool:
        digest = model.artifact_digest
        asking = {x.model_id for x in (*engine.book.held(digest), *engine.book.pending(digest))}
        return any(
            other.wanted or other.model.id in asking
            for other in await self._registry.sharing(model)
            if not principal.may_see(other.model.project)
        )

    async def resident(self, principal: Principal) -> list[ModelRecord]:
        """The artifacts that answer now, of every project that the caller may see."""
        return [
            known
            for known in await self._registry.ready()
            if principal.may_see(known.model.project) and known.model.engine.family != EXTERNAL
        ]

    @asynccontextmanager
    async def borrowed(self, known: ModelRecord) -> AsyncIterator[tuple[Engine, Lease]]:
        """A resident model under a lease that ends with the context.

        Raises:
            FailedPrecondition: It is not resident any more.
        """
        model = known.model
        engine = self.engine_of(model)
        if engine is None:
            raise not_resident()
        ttl = self._settings.max_lease_seconds
        lease = Lease(_lease_id(), model.id, model.artifact_digest, ttl)
        self._leases.add(lease, engine)
        try:
            await engine.borrow(lease)
            yield engine, lease
        finally:
            self.release(lease.id)

    def knows_lease(self, lease_id: str) -> bool:
        """Whether a lease was given here and not yet forgotten."""
        return lease_id in self._leases

    def lease_engine(self, lease_id: str) -> Engine:
        """The engine that a lease is on.

        Raises:
            FailedPrecondition: The lease is not known here.
        """
        return self._leases.get(lease_id)[1]

    def lease_digest(self, lease_id: str) -> str:
        """The artifact that a lease is for.

        Raises:
            FailedPrecondition: The lease is not known here.
        """
        return self._leases.get(lease_id)[0].digest

    async def lease_project(self, lease_id: str) -> str:
        """The project of the model that a lease is on."""
        return (await self._registry.get(self._leases.get(lease_id)[0].model_id)).model.project

    def renew(self, lease_id: str, ttl: float) -> Lease:
        """Extend a lease; `ttl` 0 means the server's default.

        Raises:
            FailedPrecondition: It has ended.
        """
        engine = self.lease_engine(lease_id)
        wanted = ttl or self._settings.lease_seconds
        return engine.book.renew(lease_id, min(wanted, self._settings.max_lease_seconds))

    def release(self, lease_id: str) -> None:
        """End a lease. Idempotent."""
        engine = self._leases.remove(lease_id)
        if engine is not None:
            engine.release(lease_id)
            self._engines.wake()

    def engine_of(self, model: Model) -> Engine | None:
        """The engine of a model, running or not."""
        return self._engines.get(model.engine_id)

    def leases_of(self, model: Model) -> int:
        """Leases held on a model's artifact now."""
        engine = self.engine_of(model)
        return len(engine.book.held(model.artifact_digest)) if engine is not None else 0

    def seconds_left(self, lease: Lease) -> float:
        """Time until a lease ends."""
        return self._leases.seconds_left(lease)

    async def drain(self) -> None:
        """Accept no more loads and stop serving queues; generations in flight go on."""
        self._draining = True
        await self._engines.close()

    def _model(self, request: LoadRequest, description: Description) -> Model:
        artifact = description.artifact
        key = {
            "project": request.project,
            "engine": description.engine_id,
            "artifact": artifact.digest,
        }
        return Model(
            id=f"model-{hex_of(digest_of(key))[:16]}",
            project=request.project,
            artifact_uri=artifact.uri,
            artifact_digest=artifact.digest,
            engine_id=description.engine_id,
            engine=description.identity,
            tokenizer_digest=description.tokenizer_digest,
            chat_template_digest=description.chat_template_digest,
        )


def _lease_id() -> str:
    return f"lease-{uuid.uuid4().hex}"


def _draining() -> Unavailable:
    return Unavailable(
        "the server is shutting down",
        reason="DRAINING",
        remedy="ask again after it has restarted",
        retry_after=10.0,
    )
