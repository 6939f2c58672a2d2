"""CompressionService: converts messages once, and hands them to planner, records and queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from assay_compression import artifacts
from assay_compression.checkpoint.scan import model_digest
from assay_compression.convert import (
    artifact_message,
    calibration_of,
    recipe_descriptions,
    refuse_unknown_fields,
    variant_message,
)
from assay_compression.jobs.runner import JobRunner
from assay_compression.methods.registry import BACKENDS
from assay_compression.metrics import CACHE_HITS
from assay_compression.planning import Plan, Planner, check_digest
from assay_compression.variants import (
    VariantSpec,
    VariantStatus,
    status_of,
    variant_id,
)
from assay_core.auth import DEFAULT_PROJECT, current_principal
from assay_core.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from assay_core.pb import common_pb2, compression_pb2, compression_pb2_grpc
from assay_core.recipes import Calibration, Recipe
from assay_core.recipes.wire import LAYOUTS, name_of
from assay_core.resources import Draft, Record, ResourceStore, State
from assay_core.server import package_version
from assay_core.storage import ObjectStore

_API = "assay.compression.v1"


class CompressionServicer(compression_pb2_grpc.CompressionServiceServicer):
    """Makes and keeps variants."""

    def __init__(
        self, records: ResourceStore, objects: ObjectStore, planner: Planner, runner: JobRunner
    ) -> None:
        self._records = records
        self._objects = objects
        self._planner = planner
        self._runner = runner

    async def CreateVariant(
        self, request: compression_pb2.CreateVariantRequest, context: Any
    ) -> compression_pb2.CreateVariantResponse:
        """Checks everything, then answers from what exists or queues a job."""
        refuse_unknown_fields(request.recipe, "recipe")
        refuse_unknown_fields(request.calibration, "calibration")
        recipe = Recipe.from_proto(request.recipe)
        calibration = Calibration.from_proto(request.calibration)
        _check_reference(request.model, "model")
        plan = await asyncio.to_thread(
            self._planner.plan, request.model.uri, request.model.digest, recipe, calibration
        )
        record, artifact = await self._accept(request, request.model, recipe, calibration, plan)
        message = await self._message(record, modules=True, cache_hit=artifact is not None)
        return compression_pb2.CreateVariantResponse(variant=message)

    async def RegisterVariant(
        self, request: compression_pb2.RegisterVariantRequest, context: Any
    ) -> compression_pb2.RegisterVariantResponse:
        """Checks the checkpoint against its parent, then queues the copying of its files."""
        _check_reference(request.checkpoint, "checkpoint")
        _check_reference(request.parent, "parent")
        layout = None
        if request.layout != common_pb2.LAYOUT_UNSPECIFIED:
            layout = name_of(LAYOUTS, request.layout, "layout")
        plan, recipe = await asyncio.to_thread(
            self._planner.plan_import, request.checkpoint.uri, request.parent.uri, layout
        )
        check_digest(
            "checkpoint.digest", request.checkpoint.digest, model_digest(plan.imported_files)
        )
        check_digest("parent.digest", request.parent.digest, plan.model_digest)
        record, artifact = await self._accept(request, request.parent, recipe, None, plan)
        message = await self._message(record, modules=True, cache_hit=artifact is not None)
        return compression_pb2.RegisterVariantResponse(variant=message)

    async def GetVariant(
        self, request: compression_pb2.GetVariantRequest, context: Any
    ) -> compression_pb2.GetVariantResponse:
        """One variant with the statistics of its modules."""
        record = await self._visible(request.id)
        return compression_pb2.GetVariantResponse(variant=await self._message(record, modules=True))

    async def ListVariants(
        self, request: compression_pb2.ListVariantsRequest, context: Any
    ) -> compression_pb2.ListVariantsResponse:
        """One page of a project's variants."""
        page = await self._records.list(
            request.project or DEFAULT_PROJECT,
            request.options.page_size,
            request.options.page_token,
            request.options.filter,
            request.options.order_by,
        )
        return compression_pb2.ListVariantsResponse(
            variants=[await self._message(record, modules=False) for record in page.records],
            next_page_token=page.next_page_token,
        )

    async def CancelVariant(
        self, request: compression_pb2.CancelVariantRequest, context: Any
    ) -> compression_pb2.CancelVariantResponse:
        """Ends the worker of a variant; layers it has done stay for the next CreateVariant."""
        await self._visible(request.id)
        record = await self._runner.cancel(request.id)
        return compression_pb2.CancelVariantResponse(
            variant=await self._message(record, modules=False)
        )

    async def WatchVariant(
        self, request: compression_pb2.WatchVariantRequest, context: Any
    ) -> AsyncIterator[compression_pb2.WatchVariantResponse]:
        """The variant now and after each change, until it has ended."""
        await self._visible(request.id)
        async for record in self._records.watch(request.id):
            yield compression_pb2.WatchVariantResponse(
                variant=await self._message(record, modules=False)
            )

    async def DeleteVariant(
        self, request: compression_pb2.DeleteVariantRequest, context: Any
    ) -> compression_pb2.DeleteVariantResponse:
        """Deletes an ended variant, and its artifact when it was the last one to hold it."""
        record = await self._visible(request.id)
        if not record.is_terminal:
            raise FailedPrecondition(
                f"the variant is {record.state}",
                reason="STATE_CONFLICT",
                resource=f"variant/{record.id}",
                remedy="cancel it first",
                metadata={"state": record.state.value},
            )
        status = status_of(record)
        await self._records.delete(record.id)
        await asyncio.to_thread(self._runner.discard_work, status.plan.variant_key)
        if status.artifact is None or await self._is_held(status.artifact):
            return compression_pb2.DeleteVariantResponse(artifact_deleted=False)
        await asyncio.to_thread(
            artifacts.delete, self._objects, status.artifact, status.plan.variant_key
        )
        return compression_pb2.DeleteVariantResponse(artifact_deleted=True)

    async def ListRecipes(
        self, request: compression_pb2.ListRecipesRequest, context: Any
    ) -> compression_pb2.ListRecipesResponse:
        """Every method of the contract, and whether this server runs it."""
        return compression_pb2.ListRecipesResponse(recipes=recipe_descriptions())

    async def GetServerInfo(
        self, request: compression_pb2.GetServerInfoRequest, context: Any
    ) -> compression_pb2.GetServerInfoResponse:
        """What this server is and can do."""
        missing = {f"recipe.{name}": b.unavailable for name, b in BACKENDS.items() if b.unavailable}
        info = common_pb2.ServerInfo(
            service="compression",
            version=package_version(),
            apis=[_API],
            capabilities=[f"recipe.{name}" for name, b in BACKENDS.items() if not b.unavailable],
            unavailable=missing,
        )
        return compression_pb2.GetServerInfoResponse(info=info)

    # -- helpers ---------------------------------------------------------------------------------

    async def _accept(
        self,
        request: compression_pb2.CreateVariantRequest | compression_pb2.RegisterVariantRequest,
        model: common_pb2.ModelRef,
        recipe: Recipe,
        calibration: Calibration | None,
        plan: Plan,
    ) -> tuple[Record, str | None]:
        """The variant, and its artifact's digest if there is one already."""
        known = await asyncio.to_thread(artifacts.find, self._objects, plan.variant_key)
        if known is not None:
            CACHE_HITS.labels(recipe.name).inc()
        elif recipe.name == "imported" and plan.imported is None:
            raise NotFound.of(
                "recipe.imported",
                "names a checkpoint that is not registered for this model",
                reason="NOT_REGISTERED",
                remedy="register it with RegisterVariant (`assay variants register`)",
            )
        else:
            data = self._objects.local_path("") if self._objects.is_local else None
            await asyncio.to_thread(self._planner.check_disk, plan, data)
        used = None
        if plan.calibration is not None and calibration is not None:
            used = calibration_of(plan.calibration, calibration.source)
        spec = VariantSpec(
            model_uri=model.uri,
            model_digest=plan.model_digest,
            recipe=recipe.canonical(),
            method=recipe.name,
            label=recipe.label(),
            calibration=used,
        )
        artifact = known.digest if known is not None else None
        return await self._create(request, spec, plan, artifact), artifact

    async def _create(
        self,
        request: compression_pb2.CreateVariantRequest | compression_pb2.RegisterVariantRequest,
        spec: VariantSpec,
        plan: Plan,
        artifact: str | None,
    ) -> Record:
        project = request.project or DEFAULT_PROJECT
        status = VariantStatus(plan=plan, artifact=artifact, cache_hit=artifact is not None)
        status_document = status.model_dump(mode="json")
        record, created = await self._records.create(
            Draft(
                id=variant_id(project, plan.variant_key),
                project=project,
                request_id=request.request_id,
                fingerprint=plan.variant_key,
                spec=spec.model_dump(mode="json"),
                state=State.SUCCEEDED if artifact is not None else State.QUEUED,
                status=status_document,
            )
        )
        if (
            not created
            and record.is_terminal
            and not (record.state == State.SUCCEEDED and artifact is not None)
        ):
            # A failed or cancelled variant is tried again, with what its last run left; one whose
            # artifact is gone is made again.
            with suppress(FailedPrecondition):
                record = await self._records.update(
                    record.id, state=State.QUEUED, status=status_document, expect={record.state}
                )
        if record.state == State.QUEUED:
            self._runner.submit(record.id)
        return record

    async def _visible(self, variant: str) -> Record:
        record = await self._records.get(variant)
        if not current_principal().may_see(record.project):
            raise NotFound(
                "there is no variant with this id",
                field="id",
                resource=f"variant/{variant}",
                remedy="list them to see what there is",
            )
        return record

    async def _is_held(self, artifact: str) -> bool:
        page = await self._records.list(None, 1, filter=f'artifact = "{artifact}"')
        return bool(page.records)

    async def _message(
        self, record: Record, *, modules: bool, cache_hit: bool | None = None
    ) -> compression_pb2.Variant:
        artifact = None
        digest = status_of(record).artifact
        if record.state == State.SUCCEEDED and digest is not None:
            with suppress(NotFound):
                artifact = await asyncio.to_thread(self._artifact, digest, modules=modules)
        return variant_message(record, artifact, cache_hit=cache_hit)

    def _artifact(self, digest: str, *, modules: bool) -> compression_pb2.Artifact:
        manifest = artifacts.read(self._objects, digest)
        weights = {}
        if modules:
            weights = artifacts.read_optional_json(self._objects, digest, artifacts.WEIGHTS_NAME)
        run = artifacts.read_run(self._objects, digest)
        uri = self._objects.uri_of(artifacts.artifact_key(digest))
        return artifact_message(uri, manifest, weights, run)


def _check_reference(model: common_pb2.ModelRef, field: str) -> None:
    if model.trust_remote_code:
        raise PermissionDenied.of(
            f"{field}.trust_remote_code",
            "is refused by this server's policy: it never runs code of a checkpoint",
            reason="REMOTE_CODE_REFUSED",
            remedy="leave it out; the supported architectures need no code of their own",
        )
    if model.revision:
        raise InvalidArgument.of(
            f"{field}.revision",
            "is set, and a folder has no revisions",
            remedy="leave it out and name the folder that holds the revision",
        )
