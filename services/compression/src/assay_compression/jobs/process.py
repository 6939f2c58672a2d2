"""One worker process: started without a shell, heard over a pipe, ended with the service."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from pydantic import ValidationError

from assay_compression.jobs.reports import Report, parse_report
from assay_compression.jobs.spec import JobSpec
from assay_core.logs import get_logger

_LOG = get_logger("compression.worker")
_LINE_LIMIT = 1 << 20


class WorkerProcess:
    """A running worker."""

    def __init__(self, process: asyncio.subprocess.Process, reports: asyncio.StreamReader) -> None:
        self._process = process
        self._reports = reports

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @classmethod
    async def start(cls, spec: JobSpec, log: Path) -> WorkerProcess:
        """Starts a worker on a job; its own output goes to the file `log`."""
        job_file = spec.work_dir.with_suffix(".job.json")
        job_file.parent.mkdir(parents=True, exist_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        job_file.write_text(spec.model_dump_json())
        read_end, write_end = os.pipe()
        try:
            with log.open("ab") as output:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "assay_compression.worker",
                    "--job",
                    str(job_file),
                    "--report-fd",
                    str(write_end),
                    "--lifeline",
                    # The worker ends when this pipe does, however the service ends.
                    stdin=asyncio.subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    pass_fds=(write_end,),
                    env=_environment(spec),
                    start_new_session=True,
                )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        reader = asyncio.StreamReader(limit=_LINE_LIMIT)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
        )
        return cls(process, reader)

    async def reports(self) -> AsyncIterator[Report]:
        """What the worker reports, until it ends."""
        async for line in self._reports:
            try:
                yield parse_report(line)
            except ValidationError:
                _LOG.warning("unreadable_report", pid=self.pid, bytes=len(line))

    async def wait(self) -> int:
        """Waits for the end; the exit code, negative for a signal."""
        return await self._process.wait()

    async def kill(self) -> None:
        """Ends the worker at once. What it has committed stays; the rest is made again."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


def _environment(spec: JobSpec) -> dict[str, str]:
    threads = str(spec.threads)
    return os.environ | {
        # Compiling costs a minute per process and changes no result.
        "TORCHDYNAMO_DISABLE": "1",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        # A job reads what its specification names and nothing from a hub.
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # cuBLAS is deterministic only with a fixed workspace.
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }
