"""The nursery: a process that has imported the tensor libraries and forks one worker per job.

Importing torch, transformers and llm-compressor takes longer than compressing a small model. The
nursery pays it once. It imports what a job needs, forks, and waits; it
runs no tensor operation itself, so that it holds neither threads nor a device when it forks. (On
CUDA it imports nothing and ends after one job: some of these libraries ask for the device while
they are imported, and a forked process cannot use a device that its parent has opened.)
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from assay_compression.checkpoint.architectures import ARCHITECTURES
from assay_compression.jobs.reports import ExitReport, to_line
from assay_compression.jobs.spec import JobSpec
from assay_compression.methods.registry import BACKENDS
from assay_core.recipes import Recipe

_MESSAGE_LIMIT = 1 << 16


class Order(BaseModel):
    """What the service asks for; the descriptor for reports comes with it.

    Attributes:
        job: File with the job's specification.
        log: File for the worker's own output.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    job: Path
    log: Path


def serve_orders(orders: socket.socket, run: Callable[[Path, int], int]) -> None:
    """Forks a worker for each order, one at a time, until the service hangs up.

    Args:
        orders: Stream of orders, a JSON line and a descriptor each.
        run: Runs a job file and reports to the descriptor; its result is the exit code.
    """
    while (received := _receive(orders)) is not None:
        order, reports = received
        spec = JobSpec.model_validate_json(order.job.read_bytes())
        if spec.device == "cpu":
            _import_for(spec)
        child = os.fork()
        if child == 0:
            orders.close()
            _become_worker(order, reports, run)
        _, status = os.waitpid(child, 0)
        with suppress(BrokenPipeError):  # The service may have stopped listening.
            os.write(reports, to_line(ExitReport(code=os.waitstatus_to_exitcode(status))))
        os.close(reports)
        if spec.device != "cpu":
            return


def _receive(orders: socket.socket) -> tuple[Order, int] | None:
    data, descriptors, _, _ = socket.recv_fds(orders, _MESSAGE_LIMIT, 1)
    while data and not data.endswith(b"\n"):
        data += orders.recv(_MESSAGE_LIMIT)
    return (Order.model_validate_json(data), descriptors[0]) if data else None


def _import_for(spec: JobSpec) -> None:
    """Imports what the job will import, so that its worker finds it there."""
    recipe = Recipe.parse(spec.recipe)
    method = BACKENDS[recipe.name].module
    if spec.imported is not None and recipe.layout == "dense":
        importlib.import_module("assay_compression.worker.importing")
    if not method:
        return
    names = ["assay_compression.worker.compress", method]
    if spec.calibration is not None:
        names.append(ARCHITECTURES[spec.architecture].module)
    if recipe.layout != "dense":
        names.append("assay_compression.worker.packing")
    for name in names:
        importlib.import_module(name)


def _become_worker(order: Order, reports: int, run: Callable[[Path, int], int]) -> None:
    """Turns this forked process into the job's worker; does not return."""
    code = 1
    try:
        log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = run(order.job, reports)
    finally:
        # Nothing above may go on in this process: it is a copy of the nursery's loop.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
