"""A real process with gRPC health: what the supervisor's tests run.

`tiny_service.py MODE --listen HOST:PORT ...`; the modes are in `main`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


def main() -> None:
    mode = sys.argv[1]
    address = sys.argv[sys.argv.index("--listen") + 1]
    if mode == "broken":
        sys.stderr.write("ModuleNotFoundError: No module named 'torch'\n")
        sys.exit(3)
    stopping = threading.Event()
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    if mode == "parent":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        sys.stdout.write(f"child {child.pid}\n")
        sys.stdout.flush()
    server = grpc.server(ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(address)
    server.start()
    sys.stdout.write(f"serving as {os.getpid()}\n")
    sys.stdout.flush()
    stopping.wait()
    server.stop(0)


if __name__ == "__main__":
    main()
