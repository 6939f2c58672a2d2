"""ServingService: each RPC converts, asks, converts back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from assay_core.auth import DEFAULT_PROJECT, current_principal
from assay_core.errors import InvalidArgument
from assay_core.pb import common_pb2, serving_pb2_grpc
from assay_core.pb import serving_pb2 as pb
from assay_core.resources import meta_of
from assay_core.server import package_version
from assay_serving import convert
from assay_serving.domain import Failure
from assay_serving.engine_ports import not_resident
from assay_serving.generation import Batch, GenerateStream
from assay_serving.leases import Lease
from assay_serving.models import LoadRequest, ModelManager
from assay_serving.profiling import profile
from assay_serving.registry import ModelRecord, ModelRegistry

CAPABILITIES = (
    "endpoints",
    "generate.completion_indices",
    "generate.logprobs",
    "generate.prompt_logprobs",
    "models.in_place_swap",
    "models.profile",
)
Context = Any  # grpc.aio.ServicerContext; the shell raises our errors through it


class ServingServicer(serving_pb2_grpc.ServingServiceServicer):
    """The contract's RPCs over a `ModelManager`."""

    def __init__(self, models: ModelManager, registry: ModelRegistry) -> None:
        self._models = models
        self._registry = registry

    async def LoadModel(
        self, request: pb.LoadModelRequest, context: Context
    ) -> pb.LoadModelResponse:
        """See serving.proto."""
        model, lease = await self._models.load(
            LoadRequest(
                project=request.project or DEFAULT_PROJECT,
                artifact_uri=request.artifact_uri,
                artifact_digest=request.artifact_digest,
                request_id=request.request_id,
                options=convert.engine_options(request.options),
                ttl=_ttl(request, "lease_ttl"),
                holder=request.holder,
                endpoint=request.endpoint,
            )
        )
        response = pb.LoadModelResponse(model=self._model(model))
        if lease is not None:
            response.lease.CopyFrom(self._lease(lease))
        return response

    async def UnloadModel(
        self, request: pb.UnloadModelRequest, context: Context
    ) -> pb.UnloadModelResponse:
        """See serving.proto."""
        await self._visible(request.id)
        model = await self._models.unload(
            request.id, force=request.force, principal=current_principal()
        )
        return pb.UnloadModelResponse(model=self._model(model))

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        """See serving.proto."""
        return pb.GetModelResponse(model=self._model(await self._visible(request.id)))

    async def ListModels(
        self, request: pb.ListModelsRequest, context: Context
    ) -> pb.ListModelsResponse:
        """See serving.proto."""
        page = await self._registry.page(request.project or DEFAULT_PROJECT, request.options)
        return pb.ListModelsResponse(
            models=[self._model(model) for model in page.models],
            next_page_token=page.next_page_token,
        )

    async def WatchModel(
        self, request: pb.WatchModelRequest, context: Context
    ) -> AsyncIterator[pb.WatchModelResponse]:
        """See serving.proto."""
        await self._visible(request.id)
        async with aclosing(self._registry.watch(request.id)) as changes:
            async for model in changes:
                yield pb.WatchModelResponse(model=self._model(model))

    async def RenewLease(
        self, request: pb.RenewLeaseRequest, context: Context
    ) -> pb.RenewLeaseResponse:
        """See serving.proto."""
        await self._own_lease(request.lease_id)
        lease = self._models.renew(request.lease_id, _ttl(request, "lease_ttl"))
        return pb.RenewLeaseResponse(lease=self._lease(lease))

    async def ReleaseLease(
        self, request: pb.ReleaseLeaseRequest, context: Context
    ) -> pb.ReleaseLeaseResponse:
        """See serving.proto."""
        if self._models.knows_lease(request.lease_id):
            await self._own_lease(request.lease_id)
            self._models.release(request.lease_id)
        return pb.ReleaseLeaseResponse()

    async def Generate(
        self, request_iterator: AsyncIterator[pb.GenerateRequest], context: Context
    ) -> AsyncIterator[pb.GenerateResponse]:
        """See serving.proto."""
        first = await anext(request_iterator, None)
        if first is None:
            return
        for name in ("lease_id", "artifact_digest"):
            if not getattr(first, name):
                raise InvalidArgument.of(
                    name,
                    "is empty in the first message",
                    remedy="take both from LoadModel's answer",
                )
        await self._own_lease(first.lease_id)
        engine = self._models.lease_engine(first.lease_id)
        stream = GenerateStream(engine).run(_batches(first, request_iterator))
        async with aclosing(stream):
            async for results in stream:
                for group in convert.completions(results):
                    yield pb.GenerateResponse(
                        artifact_digest=first.artifact_digest, completions=group
                    )

    async def CountTokens(
        self, request: pb.CountTokensRequest, context: Context
    ) -> pb.CountTokensResponse:
        """See serving.proto."""
        model = (await self._visible(request.model_id)).model
        engine = self._models.engine_of(model)
        if engine is None or engine.resident != model.artifact_digest:
            raise not_resident()
        counts = await engine.count_tokens(convert.items(request.items), model.artifact_digest)
        response = pb.CountTokensResponse()
        for position, count in enumerate(counts):
            if isinstance(count, Failure):
                raise InvalidArgument.of(
                    f"items[{position}].{count.field or 'prompt'}",
                    count.message.removeprefix(f"{count.field} "),
                    remedy=count.remedy,
                )
            response.counts.append(count)
        return response

    async def DescribeEngine(
        self, request: pb.DescribeEngineRequest, context: Context
    ) -> pb.DescribeEngineResponse:
        """See serving.proto."""
        found = await self._models.describe(
            LoadRequest(
                project=request.project or DEFAULT_PROJECT,
                artifact_uri=request.artifact_uri,
                options=convert.engine_options(request.options),
                endpoint=request.endpoint,
            )
        )
        return pb.DescribeEngineResponse(
            engine=convert.engine_identity(found.identity),
            tokenizer_digest=found.tokenizer_digest,
            chat_template_digest=found.chat_template_digest,
            artifact_digest=await asyncio.to_thread(lambda: found.artifact.digest),
        )

    async def ProfileModel(
        self, request: pb.ProfileModelRequest, context: Context
    ) -> pb.ProfileModelResponse:
        """See serving.proto."""
        await self._own_lease(request.lease_id)
        engine = self._models.lease_engine(request.lease_id)
        digest = self._models.lease_digest(request.lease_id)
        measured = await profile(engine, request.lease_id, digest, convert.profile_load(request))
        return convert.profiled(measured)

    async def GetServerInfo(
        self, request: pb.GetServerInfoRequest, context: Context
    ) -> pb.GetServerInfoResponse:
        """See serving.proto."""
        return pb.GetServerInfoResponse(
            info=common_pb2.ServerInfo(
                service="serving",
                version=package_version(),
                apis=["assay.serving.v1"],
                capabilities=CAPABILITIES,
            )
        )

    async def _visible(self, model_id: str) -> ModelRecord:
        known = await self._registry.get(model_id)
        current_principal().require_project(known.model.project)
        return known

    async def _own_lease(self, lease_id: str) -> None:
        current_principal().require_project(await self._models.lease_project(lease_id))

    def _model(self, known: ModelRecord) -> pb.Model:
        model = known.model
        meta = meta_of(known.record)
        meta.request_id = known.request_id
        return pb.Model(
            meta=meta,
            artifact_uri=model.artifact_uri,
            artifact_digest=model.artifact_digest,
            engine_id=model.engine_id,
            engine=convert.engine_identity(model.engine),
            tokenizer_digest=model.tokenizer_digest,
            chat_template_digest=model.chat_template_digest,
            ready=known.ready,
            load_time=convert.duration(known.load_seconds),
            swapped=known.swapped,
            leases=self._models.leases_of(model),
            wanted=known.wanted,
        )

    def _lease(self, lease: Lease) -> pb.Lease:
        message = pb.Lease(id=lease.id, model_id=lease.model_id, artifact_digest=lease.digest)
        message.expire_time.FromDatetime(convert.from_now(self._models.seconds_left(lease)))
        return message


async def _batches(
    first: pb.GenerateRequest, later: AsyncIterator[pb.GenerateRequest]
) -> AsyncIterator[Batch]:
    lease_id, digest = first.lease_id, first.artifact_digest
    if first.items:
        yield Batch(lease_id, digest, convert.items(first.items))
    async for message in later:
        if message.lease_id not in ("", lease_id):
            raise InvalidArgument.of(
                "lease_id", "differs from the first message's", remedy="open another stream"
            )
        if message.artifact_digest not in ("", digest):
            raise InvalidArgument.of(
                "artifact_digest", "differs from the first message's", remedy="open another stream"
            )
        if message.items:
            yield Batch(lease_id, digest, convert.items(message.items))


def _ttl(message: Any, field: str) -> float:
    if not message.HasField(field):
        return 0.0
    value = convert.seconds(getattr(message, field))
    if value < 0:
        raise InvalidArgument.of(field, "is negative", remedy="give a time to live of at least 0")
    return value
