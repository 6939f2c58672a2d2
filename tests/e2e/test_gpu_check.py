"""`make gpu-check` says what it lacks; `check.py --device cpu` takes its steps without a GPU."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).parents[1] / "gpu" / "check.py"


def test_without_a_gpu_it_is_refused_at_once_and_says_what_each_environment_lacks() -> None:
    if Path("/dev/nvidia0").exists():
        pytest.skip("there is a GPU here: run make gpu-check")
    ran = subprocess.run(
        [sys.executable, str(CHECK)], capture_output=True, text=True, check=False, timeout=600
    )
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr.startswith("gpu-check: not run, it needs a GPU: ")
    for name in (".venvs/compression: torch sees no GPU", ".venvs/serving: torch sees no GPU"):
        assert name in ran.stderr
