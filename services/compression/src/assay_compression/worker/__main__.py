"""`python -m assay_compression.worker`: runs one compression job, or a nursery of workers.

With `--job FILE` it runs that job and prints its reports. With `--orders-fd N` it is a nursery.
Standard input is then a lifeline: the service holds the other end and writes nothing, so its end
means that the service is gone, and nursery and worker go too.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import socket
import sys
import threading
from pathlib import Path

from assay_compression.jobs.reports import ErrorReport, Report, to_line
from assay_compression.jobs.spec import JobSpec
from assay_compression.worker.job import run_job
from assay_compression.worker.nursery import serve_orders
from assay_core.errors import AssayError, Internal, ResourceExhausted, to_document
from assay_core.logs import exception_facts

EXIT_ORPHANED = 75
_FULL = (errno.ENOSPC, errno.EDQUOT)


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="assay-compression-worker", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--job", type=Path, help="job specification (JSON)")
    what.add_argument("--orders-fd", type=int, help="socket that a service sends orders to")
    arguments = parser.parse_args()
    if arguments.job is not None:
        return run(arguments.job, sys.stdout.fileno())
    with socket.socket(fileno=arguments.orders_fd) as orders:
        serve_orders(orders, run_for_service)
    return 0


def run_for_service(job: Path, reports: int) -> int:
    """Runs a job that ends with the service it is run for."""
    threading.Thread(target=_end_with_service, daemon=True).start()
    return run(job, reports)


def run(job: Path, reports: int) -> int:
    """Runs a job and reports to a descriptor; 0 means published, 1 that an error was reported."""

    def report(line: Report) -> None:
        os.write(reports, to_line(line))

    try:
        run_job(JobSpec.model_validate_json(job.read_bytes()), report)
    except Exception as error:  # noqa: BLE001 - a job that fails must say so, whatever it was
        report(ErrorReport(error=to_document(_cause(error))))
        return 1
    return 0


def _cause(error: Exception) -> AssayError:
    if isinstance(error, AssayError):
        return error
    if isinstance(error, MemoryError):
        return _out_of_memory("memory")
    # torch's own, a RuntimeError; a job that ends early has not imported torch.
    if type(error).__name__ == "OutOfMemoryError":
        return _out_of_memory("the GPU's memory")
    # safetensors hides the system's number of the error in its text.
    if getattr(error, "errno", None) in _FULL or "No space left on device" in str(error):
        return _disk_full()
    # Type and places only: a library's message may quote what it was given.
    sys.stderr.write(f"{json.dumps(exception_facts(error))}\n")
    return _unexpected(error)


def _unexpected(error: Exception) -> AssayError:
    return Internal(
        f"the worker met an unexpected {type(error).__name__}",
        reason="WORKER_FAILED",
        remedy="see the job's log in ASSAY_HOME/logs/compression-jobs",
    )


def _out_of_memory(what: str) -> AssayError:
    return ResourceExhausted(
        f"the worker ran out of {what}",
        reason="MEMORY_FULL",
        remedy="use fewer or shorter calibration sequences, or a machine with more memory",
    )


def _disk_full() -> AssayError:
    return ResourceExhausted(
        "the disk filled up during the job",
        reason="DISK_FULL",
        remedy="free disk space or move ASSAY_HOME, then create the variant again: layers that are "
        "done are kept",
    )


def _end_with_service() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(EXIT_ORPHANED)


if __name__ == "__main__":
    sys.exit(main())
