"""A Ray cluster that outlives its gateways: they end the engines of those before, and their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from services.serving.tests.conftest import free_port

pytestmark = pytest.mark.slow

# Ray gives its node 30 s to register, which a busy machine does not always make.
START_ATTEMPTS = 5

# See `ray_process`: Ray stays on 127.0.0.1 with the second one.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

# In a process of its own: Ray keeps state in the process that joins it.
GATEWAYS = """
import sys
from pathlib import Path
import ray
from ray import serve
from assay_serving.ray_runtime import RayRuntime
from assay_serving.runtime import RaySettings

@serve.deployment
class Nothing:
    pass

def names():
    return ",".join(sorted(serve.status().applications))

def deploy(*names):
    for name in names:
        serve.run(Nothing.bind(), name=name, route_prefix=None)

ray.init(address=sys.argv[1], namespace="assay", log_to_driver=False)
serve.start(proxy_location="Disabled")
deploy("engine-0123456789ab", "engine-of-somebody", "theirs")
ray.shutdown()

gateway = RayRuntime(RaySettings(Path(sys.argv[2]), address=sys.argv[1]))
gateway.ensure_started()
print("joined:", names())
deploy("engine-ba9876543210")
gateway.stop()

ray.init(address=sys.argv[1], namespace="assay", log_to_driver=False)
print("left:", names())
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    ray = str(Path(sys.executable).with_name("ray"))
    address = f"127.0.0.1:{free_port()}"
    folder = f"/tmp/assay-ray-{os.getpid()}"  # short: see `ray_paths`
    command: list[str] = [
        *(ray, "start", "--head", "--block", "--num-cpus=8", "--include-dashboard=false"),
        *("--node-ip-address=127.0.0.1", f"--port={address.rpartition(':')[2]}"),
        *("--object-store-memory=100000000", f"--temp-dir={folder}"),
    ]
    log = tmp_path / "ray.log"
    for _ in range(START_ATTEMPTS):
        head = started(command, log)
        if head.poll() is None:
            break
    try:
        assert head.poll() is None, log.read_text()
        yield address
    finally:
        head.terminate()
        head.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def started(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """The head, once it says that it runs, or has ended."""
    with log.open("wb") as sink:
        environment = os.environ | ENVIRONMENT
        head = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment)
    while head.poll() is None and "Ray runtime started" not in log.read_text():
        time.sleep(0.2)
    return head


def test_engines_end_with_their_gateway_and_others_are_left_alone(cluster, tmp_path):
    found = subprocess.run(
        [sys.executable, "-c", GATEWAYS, cluster, str(tmp_path)],
        env=os.environ | ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    said = [line for line in found.stdout.splitlines() if line.startswith(("joined", "left"))]
    assert said == ["joined: engine-of-somebody,theirs", "left: engine-of-somebody,theirs"], found
