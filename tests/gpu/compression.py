"""Compression on a GPU (`make gpu-compression`): right, resumable, and how fast.

    python tests/gpu/compression.py [parity] [service] [speed] [--device cpu]

`parity` makes every recipe on the demo model and on small random models of several families, on the
CPU and twice on the GPU: the two runs on the GPU give the same bytes, and differ from the CPU's by
no more than `parity.BOUNDS`. `service` starts the real service on the GPU, cancels a job, resumes
it, kills its worker and compares the artifact with that of an undisturbed job. `speed` compresses
a random model of Llama-2-7B's shape and prints seconds per layer, where they go, and the peak of
the GPU's memory; it checks nothing.

Refuses to start without a GPU. `--device cpu` takes the same steps on a CPU, where the first two
must find no difference at all.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

# cuBLAS is deterministic only with a fixed workspace; the service sets the same for its workers.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")

import torch
import transformers

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "services" / "compression" / "tests")]

from tests.gpu import parity, service, speed  # noqa: E402 (the root is not installed)

PARTS = ("parity", "service", "speed")


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help="of parity, service, speed; all without any")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--scratch", type=Path, help="folder with room for two copies of the model")
    speed.add_arguments(parser)
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.stderr.write("gpu-compression: not run, it needs a GPU: torch sees none\n")
        return 2
    name = torch.cuda.get_device_name() if arguments.device == "cuda" else platform.machine()
    # Bars of what is written, and a hint about padding that there is none of.
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    say(f"{name}; torch {torch.__version__}, transformers {transformers.__version__}")
    with tempfile.TemporaryDirectory(prefix="gpu", dir=arguments.scratch) as scratch:
        for part in arguments.parts or PARTS:
            folder = Path(scratch) / part
            folder.mkdir()
            match part:
                case "parity":
                    lines = parity.run(folder, arguments.device)
                case "service":
                    lines = service.run(folder, arguments.device)
                case _:
                    lines = speed.run(folder, arguments)
            for line in lines:
                say(line)
    return 0


def say(line: str) -> None:
    """A line on the screen, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
