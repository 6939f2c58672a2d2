"""One running stack of real services for all end-to-end tests of a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e.stack import ROOT, Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Every service, really, on free ports."""
    if not any((ROOT / "models" / "demo").rglob("*.safetensors")):
        pytest.skip("the demo model has no weights: run make demo-model")
    # Short, because Ray's sockets live below a path of their own and Unix sockets have a limit.
    home = tmp_path_factory.mktemp("assay")
    running = Stack(home)
    up = running.assay("up")
    assert up.code == 0, up.err + running.logs()
    yield running
    down = running.assay("down")
    assert down.code == 0, down.err
