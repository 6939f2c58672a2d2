"""PackService: uploaded packs, the same ones behind every evaluator of one object store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from assay_core.errors import InvalidArgument
from assay_core.pb import pack_pb2 as pb
from assay_core.pb import pack_pb2_grpc
from assay_evaluators.packs.depot import PackDepot
from assay_evaluators.packs.loading import Pack

Context = Any  # grpc.aio.ServicerContext; the shell raises our errors through it
DEFAULT_PAGE = 100


class PackServicer(pack_pb2_grpc.PackServiceServicer):
    """The contract's RPCs over a `PackDepot`."""

    def __init__(self, depot: PackDepot) -> None:
        self._depot = depot

    async def UploadPack(
        self, request_iterator: AsyncIterator[pb.UploadPackRequest], context: Context
    ) -> pb.UploadPackResponse:
        """See pack.proto."""
        with await asyncio.to_thread(self._depot.receive) as upload:
            async for request in request_iterator:
                await asyncio.to_thread(upload.append, request.path, request.chunk)
            pack = await asyncio.to_thread(upload.finish)
        return pb.UploadPackResponse(pack=self._message(pack))

    async def ListPacks(
        self, request: pb.ListPacksRequest, context: Context
    ) -> pb.ListPacksResponse:
        """See pack.proto. Packs are shared by content; the order is that of their digests."""
        options = request.options
        for name in ("filter", "order_by"):
            if getattr(options, name):
                raise InvalidArgument.of(
                    f"options.{name}", "is not supported for packs", remedy="leave it empty"
                )
        digests = await asyncio.to_thread(self._depot.digests)
        rest = [digest for digest in digests if digest > options.page_token]
        size = options.page_size or DEFAULT_PAGE
        packs = [await asyncio.to_thread(self._depot.get, digest) for digest in rest[:size]]
        return pb.ListPacksResponse(
            packs=[self._message(pack) for pack in packs],
            next_page_token=packs[-1].digest if len(rest) > size else "",
        )

    async def GetPack(self, request: pb.GetPackRequest, context: Context) -> pb.GetPackResponse:
        """See pack.proto."""
        pack = await asyncio.to_thread(self._depot.get, request.digest)
        return pb.GetPackResponse(pack=self._message(pack))

    def _message(self, pack: Pack) -> pb.Pack:
        manifest = pack.manifest
        return pb.Pack(
            digest=pack.digest,
            name=manifest.name,
            version=manifest.version,
            licence=manifest.licence,
            display=manifest.display,
            uri=self._depot.uri(pack.digest),
            scenarios=[
                pb.PackScenario(
                    dimension=dimension,
                    scenario=scenario,
                    rows=facts.rows,
                    rows_expected=facts.rows_expected,
                    missing_reason=facts.missing or "",
                )
                for dimension, entry in manifest.dimensions.items()
                for scenario, facts in entry.scenarios.items()
            ],
        )
