"""The service's side of worker processes: started without a shell, ended with the service."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from assay_compression.jobs.reports import Report, parse_report
from assay_compression.jobs.spec import JobSpec
from assay_compression.worker.nursery import Order
from assay_core.errors import InvalidArgument
from assay_core.logs import get_logger

_LOG = get_logger("compression.worker")
_LINE_LIMIT = 1 << 20


@dataclass(frozen=True)
class _Process:
    process: asyncio.subprocess.Process
    orders: socket.socket

    @property
    def alive(self) -> bool:
        return self.process.returncode is None


class Nursery:
    """One place for jobs: a nursery process, started when it is needed, and its worker.

    Args:
        threads: Threads of tensor operations in a worker.
        device: Where it computes: `cpu`, `cuda`, or one of several, `cuda:1`.

    Raises:
        InvalidArgument: If this process does not see that many devices.
    """

    def __init__(self, threads: int, device: str = "cpu") -> None:
        self.device = device
        self._environment = _environment(threads, device)
        self._running: _Process | None = None

    async def run(self, spec: JobSpec, log: Path) -> AsyncGenerator[Report, None]:
        """Runs a job in a worker of its own; yields what it reports until it ends.

        The last report is an ExitReport, unless the nursery died as well.

        Args:
            spec: The job.
            log: File for the worker's own output.
        """
        job_file = spec.work_dir.with_suffix(".job.json")
        job_file.parent.mkdir(parents=True, exist_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        job_file.write_text(spec.model_dump_json())
        order = Order(job=job_file, log=log)
        read_end, write_end = os.pipe()
        reader = asyncio.StreamReader(limit=_LINE_LIMIT)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
        )
        try:
            try:
                orders = (await self._started()).orders
                socket.send_fds(orders, [order.model_dump_json().encode() + b"\n"], [write_end])
            except OSError:
                # The nursery died before it took the order: the caller's next try starts another.
                await self.kill()
            finally:
                os.close(write_end)
            async for line in reader:
                try:
                    yield parse_report(line)
                except ValidationError:
                    _LOG.warning("unreadable_report", bytes=len(line))
        finally:
            transport.close()
            job_file.unlink(missing_ok=True)
            if spec.device != "cpu":
                await self.kill()

    async def kill(self) -> None:
        """Ends nursery and worker at once. What the worker has committed stays."""
        if (running := self._running) is None:
            return
        self._running = None
        running.orders.close()
        if running.alive:
            # The worker is in the nursery's process group, which bears the nursery's id.
            with suppress(ProcessLookupError):
                os.killpg(running.process.pid, signal.SIGKILL)
        await running.process.wait()

    async def _started(self) -> _Process:
        if self._running is not None and self._running.alive:
            return self._running
        await self.kill()
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "assay_compression.worker",
                "--orders-fd",
                str(theirs.fileno()),
                # Nursery and workers end when this pipe does, however the service ends.
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(theirs.fileno(),),
                env=self._environment,
                start_new_session=True,
            )
        self._running = _Process(process, ours)
        return self._running


def visible_devices(device: str, visible: str | None) -> str | None:
    """CUDA_VISIBLE_DEVICES of a worker, so that it sees its own device and no other.

    Args:
        device: `cpu`, `cuda` (whatever this process sees), or `cuda:1`, counted from 0 among those
            that this process sees.
        visible: The variable of this process; None where it is not set.

    Raises:
        InvalidArgument: If this process sees fewer devices.
    """
    kind, _, number = device.partition(":")
    if kind == "cpu":
        return ""
    if not number or visible is None:
        return number or visible
    seen = [each.strip() for each in visible.split(",") if each.strip()]
    if int(number) >= len(seen):
        raise InvalidArgument.of(
            "devices",
            f"names {device}, and CUDA_VISIBLE_DEVICES lets this process see {len(seen)}",
            remedy="name devices from cuda:0 on, or let it see more",
        )
    return seen[int(number)]


def _environment(threads: int, device: str) -> dict[str, str]:
    visible = visible_devices(device, os.environ.get("CUDA_VISIBLE_DEVICES"))
    return (
        os.environ
        | ({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible})
        | {
            # Compiling costs a minute per process and changes no result.
            "TORCHDYNAMO_DISABLE": "1",
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": "1",
            # Threads that wait by spinning stall each other where processes outnumber processors.
            "OMP_WAIT_POLICY": "PASSIVE",
            # A job reads what its specification names and nothing from a hub.
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            # cuBLAS is deterministic only with a fixed workspace.
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        }
    )
