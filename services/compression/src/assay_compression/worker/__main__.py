"""`python -m assay_compression.worker --job FILE --report-fd N`: runs one compression job.

Standard input is a lifeline: the service holds the other end and writes nothing, so its end means
that the service is gone, and the worker goes too. Progress lines go to the report descriptor.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from pathlib import Path

from assay_compression.jobs.reports import ErrorReport, Report, to_line
from assay_compression.jobs.spec import JobSpec
from assay_compression.worker.job import run_job
from assay_core.errors import AssayError, Internal, to_document

EXIT_ORPHANED = 75


def main() -> int:
    """Runs the job; 0 means published, 1 means that an error was reported."""
    parser = argparse.ArgumentParser(prog="assay-compression-worker", description=__doc__)
    parser.add_argument("--job", type=Path, required=True, help="job document (JSON)")
    parser.add_argument("--report-fd", type=int, default=1, help="descriptor for JSON lines")
    parser.add_argument("--lifeline", action="store_true", help="end when standard input ends")
    arguments = parser.parse_args()
    if arguments.lifeline:
        threading.Thread(target=_end_with_service, daemon=True).start()

    def report(line: Report) -> None:
        os.write(arguments.report_fd, to_line(line))

    try:
        run_job(JobSpec.model_validate_json(arguments.job.read_bytes()), report)
    except AssayError as error:
        report(ErrorReport(error=to_document(error)))
        return 1
    except MemoryError:
        report(ErrorReport(error=to_document(_out_of_memory())))
        return 1
    return 0


def _out_of_memory() -> AssayError:
    return Internal("the worker ran out of memory", reason="OUT_OF_MEMORY")


def _end_with_service() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os._exit(EXIT_ORPHANED)


if __name__ == "__main__":
    sys.exit(main())
