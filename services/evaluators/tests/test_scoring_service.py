"""A toxicity evaluation with the real scoring service and a real (tiny) checkpoint behind it."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from pathlib import Path

import pytest
from mini_toxicity import write_mini_toxicity
from synthetic_serving import SyntheticServing, serving

from assay_core.client import call, channel
from assay_core.errors import AssayError
from assay_core.pb import scoring_pb2, scoring_pb2_grpc

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = ROOT / ".venvs/serving/bin"
WORDS = ["you are a fool", "good friend", "a bad fool", "friend"]


def says(prompt: str, seed: int) -> str:
    return f"{WORDS[seed % 4]} {WORDS[seed // 4 % 4]}"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    if not (ENVIRONMENT / "assay-scoring").exists():
        pytest.skip("no serving environment with assay-scoring: run make setup")
    out = tmp_path_factory.mktemp("scoring") / "tiny"
    program = ROOT / "services/scoring/tests/tiny_checkpoint.py"
    subprocess.run([ENVIRONMENT / "python", program, out], check=True, capture_output=True)
    return out


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def start(address: str, checkpoint: Path, home: Path) -> tuple[subprocess.Popen, str]:
    """The service, once it answers, and the id of its scorer."""
    process = subprocess.Popen(  # noqa: ASYNC220 (it returns at once)
        [ENVIRONMENT / "assay-scoring", "--listen", address, "--metrics-listen", "off",
         "--home", home, "--device", "cpu", "--threads", "1", "--log-level", "warning",
         "--checkpoints", json.dumps({"tiny": str(checkpoint)})],
    )  # fmt: skip
    async with channel(address) as to_scoring:
        stub = scoring_pb2_grpc.ScoringServiceStub(to_scoring)
        for _ in range(600):
            try:
                listed = await call(stub.ListScorers, scoring_pb2.ListScorersRequest(), timeout=2)
                return process, listed.scorers[0].id
            except AssayError:
                assert process.poll() is None, "the scoring service ended at its start"
                await asyncio.sleep(0.3)
    raise AssertionError("the scoring service did not come up")


@pytest.mark.slow
async def test_scores_come_from_the_checkpoint_and_its_death_is_survived(
    evaluator, tmp_path, checkpoint
):
    write_mini_toxicity(tmp_path / "pack")
    address = free_address()
    process, scorer = await start(address, checkpoint, tmp_path)
    options = ("--scoring", address, "--scorer", scorer)
    async with (
        serving(SyntheticServing(says), tmp_path) as engine,
        evaluator("toxicity", engine, str(tmp_path / "pack"), options=options) as service,
    ):
        try:
            first = await service.run()
            process.kill()
            process.wait()
            failed = await service.ends((await service.create(seed=1)).meta.id)
            assert failed.meta.error.reason == "SCORER_UNAVAILABLE"
            process, again = await start(address, checkpoint, tmp_path)
            assert again == scorer
            second = await service.run(seed=1, lease="")
        finally:
            process.kill()
            process.wait()
    assert second.meta.id == failed.meta.id
    assert scorer.startswith("tiny-")
    for evaluation in (first, second):
        score = evaluation.scores[0]
        assert score.metric == f"emt@{scorer}"
        assert 0 < score.value < 100
        assert score.complete
