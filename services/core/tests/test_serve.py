"""A service as a process of its own: it starts, answers, and leaves in order on SIGTERM."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import textwrap
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from assay_core.client import call, channel
from assay_core.errors import NotFound, Unavailable
from assay_core.pb import compression_pb2, compression_pb2_grpc

SERVICE = textwrap.dedent(
    """
    import asyncio, sys
    from assay_core.errors import AssayError, NotFound
    from assay_core.pb import compression_pb2, compression_pb2_grpc
    from assay_core.server import serve
    from assay_core.settings import ServiceSettings, load_settings

    class Servicer(compression_pb2_grpc.CompressionServiceServicer):
        async def GetVariant(self, request, context):
            if request.id == "slow":
                await asyncio.sleep(1)
                return compression_pb2.GetVariantResponse()
            raise NotFound("there is no such variant")

    def register(server):
        compression_pb2_grpc.add_CompressionServiceServicer_to_server(Servicer(), server)
        return ["assay.compression.v1.CompressionService"]

    async def on_drain():
        print("handed back", flush=True)

    settings = load_settings(ServiceSettings, sys.argv[1:])
    asyncio.run(serve(settings, "core", register, on_drain=on_drain))
    """
)


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


async def until_serving(address: str) -> None:
    async with channel(address) as to, asyncio.timeout(30):
        while True:
            try:
                request = health_pb2.HealthCheckRequest()
                await call(health_pb2_grpc.HealthStub(to).Check, request, timeout=5)
            except Unavailable:
                await asyncio.sleep(0.1)
            else:
                return


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_the_process(tmp_path: Path, number: signal.Signals) -> None:
    address = free_address()
    arguments = ["--listen", address, "--metrics-listen", "off", "--home", str(tmp_path)]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SERVICE,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await until_serving(address)
        async with channel(address) as to:
            stub = compression_pb2_grpc.CompressionServiceStub(to)
            with pytest.raises(NotFound):
                await call(stub.GetVariant, compression_pb2.GetVariantRequest(id="secret-id"))
            slow = asyncio.ensure_future(
                call(stub.GetVariant, compression_pb2.GetVariantRequest(id="slow"))
            )
            await asyncio.sleep(0.3)
            process.send_signal(number)
            await slow
        async with asyncio.timeout(15):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    assert out.decode() == "handed back\n"
    lines = [json.loads(line) for line in err.decode().splitlines()]
    events = [line["event"] for line in lines]
    assert (events[0], events[-1]) == ("serving", "stopped")
    assert "draining" in events
    calls = {line["code"]: line for line in lines if line["event"] == "rpc"}
    assert {"NOT_FOUND", "OK"} <= set(calls)
    assert calls["OK"]["request_id"]
    assert len(calls["OK"]["trace_id"]) == 32
    assert b"secret-id" not in err
