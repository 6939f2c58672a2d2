"""A study over an endpoint that is not ours, a `vllm serve` process (`make test-external`)."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from services.serving.tests.vllm_server import vllm_serve
from tests.e2e.stack import ROOT, Stack

pytestmark = [pytest.mark.engine, pytest.mark.slow]

KEY = "a-key-of-the-test"
MODEL = ROOT / "models" / "demo" / "model"
STUDY = """
name: the demo model and vllm serve
models: [demo, endpoint:vllm]
recipes: [dense]
dimensions: [ethics, stereotype]
pack: demo
row_limit: 3
gate: {require_utility: false}
"""


@pytest.fixture(scope="module")
def external_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Every service, with `vllm serve` as the endpoint `vllm`."""
    if not any(MODEL.glob("*.safetensors")):
        pytest.skip("the demo model has no weights: run make demo-model")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    python = ROOT / ".venvs" / "serving" / "bin" / "python"
    folder = tmp_path_factory.mktemp("vllm")
    options = ("--max-model-len", "8192")
    with vllm_serve(python, MODEL, folder, port, key=KEY, options=options) as url:
        entry = {"url": url, "model": "tiny", "secret": "env:VLLM_SERVE_KEY"}
        environment = {
            "ASSAY_SERVING_ENDPOINTS": json.dumps({"vllm": entry}),
            "VLLM_SERVE_KEY": KEY,
        }
        running = Stack(tmp_path_factory.mktemp("assay"), environment)
        up = running.assay("up")
        assert up.code == 0, up.err + running.logs()
        yield running
        running.assay("down")


def test_the_same_weights_behind_vllm_serve_do_not_differ(
    external_stack: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(STUDY)
    ran = external_stack.assay("study", "run", "-f", file, "--json")
    assert ran.code in (0, 3), ran.err + external_stack.logs()  # 3: too few rows to decide
    whole = {
        each["dimension"]: each for each in ran.document["comparisons"] if not each.get("scenario")
    }
    assert {each["reference_key"] for each in whole.values()} == {"demo/dense/seed0"}
    # Greedy texts of equal weights are equal, whoever serves them.
    assert (whole["ethics"]["difference"], whole["ethics"].get("lost", 0)) == (0, 0)
    # Drawn texts depend on the sampler's random numbers: compared, not promised to be equal.
    assert whole["stereotype"]["n_pairs"] > 0
    assert [each["variant_key"] for each in ran.document["study"]["gate_result"]["variants"]] == [
        "endpoint:vllm/dense/seed0"
    ]
