"""`assay-compression`: the compression service.

Ready within a second or two: torch and llm-compressor are imported by workers, never here. At
SIGTERM workers are ended and their jobs go back to the queue, to be resumed by the next process.
"""

from __future__ import annotations

import asyncio
import sys

import grpc

from assay_compression.jobs.runner import JobRunner
from assay_compression.planning import Planner
from assay_compression.servicer import CompressionServicer
from assay_compression.settings import CompressionSettings
from assay_compression.variants import FILTERS, TABLE
from assay_core.errors import AssayError
from assay_core.pb import compression_pb2, compression_pb2_grpc
from assay_core.resources import ResourceStore
from assay_core.server import serve
from assay_core.settings import load_settings
from assay_core.storage import ObjectStore

SERVICE = compression_pb2.DESCRIPTOR.services_by_name["CompressionService"].full_name


async def run(settings: CompressionSettings) -> None:
    """Serves until SIGTERM or SIGINT; leaves no process behind."""
    records = ResourceStore(settings.database_url, TABLE, fields=FILTERS)
    objects = ObjectStore(settings.data_uri)
    await asyncio.to_thread(objects.check)
    planner = Planner(settings)
    runner = JobRunner(settings, records, objects, planner)

    def register(server: grpc.aio.Server) -> list[str]:
        servicer = CompressionServicer(records, objects, planner, runner)
        compression_pb2_grpc.add_CompressionServiceServicer_to_server(servicer, server)
        return [SERVICE]

    try:
        await serve(settings, "compression", register, on_start=runner.start, on_drain=runner.drain)
    finally:
        await records.close()


def main() -> int:
    """Entry point; returns the exit code."""
    try:
        settings = load_settings(CompressionSettings, sys.argv[1:])
        asyncio.run(run(settings))
    except AssayError as error:
        sys.stderr.write(f"assay-compression: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
