"""A plugin of vLLM: its processes end with the process that started them.

vLLM ends its engine core and workers when it is shut down, and when one of them fails. Nothing ends
them when the replica above is killed: they would keep gigabytes until the machine restarts.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

LOOK_SECONDS = 1.0


def tie() -> None:
    """Watch the parent from now on, if this is a process that vLLM has started."""
    if multiprocessing.parent_process() is not None:
        watch = threading.Thread(target=_follow, args=(os.getppid(),), name="assay-fate")
        watch.daemon = True
        watch.start()


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
