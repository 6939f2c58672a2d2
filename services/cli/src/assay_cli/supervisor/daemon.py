"""Background form of the supervisor: `python -m assay_cli.supervisor.daemon HOME`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from assay_cli.supervisor.control import run_foreground
from assay_cli.supervisor.state import RunFolder
from assay_core.errors import AssayError


def main() -> int:
    """Runs the home's plan until SIGTERM; events go to stdout, which is its log."""
    folder = RunFolder(Path(sys.argv[1]))
    try:
        plan = folder.read_plan()
        if plan is None:
            _say("no plan to run")
            return 2
        run_foreground(folder, plan, _say)
    except AssayError as error:
        _say(error.text)
        return 2
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
