"""One running stack of real services for all end-to-end tests of a session."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from tests.e2e.stack import ROOT, Stack

BEHIND_DOOR = "demo-behind-the-door"
"""The folder of the checkpoint that the endpoint `own-door` answers with, once it is resident."""


def own_door() -> dict[str, str]:
    """Serving's OpenAI-compatible door, and what is resident behind it as an external endpoint."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    door = {"url": f"http://{address}/v1", "model": BEHIND_DOOR, "max_in_flight": 32}
    return {
        "ASSAY_SERVING_HTTP_LISTEN": address,
        "ASSAY_SERVING_ENDPOINTS": json.dumps({"own-door": door}),
    }


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Every service, really, on free ports."""
    if not any((ROOT / "models" / "demo").rglob("*.safetensors")):
        pytest.skip("the demo model has no weights: run make demo-model")
    # Short, because Ray's sockets live below a path of their own and Unix sockets have a limit.
    home = tmp_path_factory.mktemp("assay")
    running = Stack(home, own_door())
    up = running.assay("up")
    assert up.code == 0, up.err + running.logs()
    yield running
    down = running.assay("down")
    assert down.code == 0, down.err
