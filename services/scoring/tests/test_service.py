"""The service as a process of its own, over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from assay_core.client import call, channel, stream
from assay_core.errors import AssayError, InvalidArgument, NotFound
from assay_core.pb import scoring_pb2 as pb
from assay_core.pb import scoring_pb2_grpc
from assay_scoring.scorers import Scorers

SECRET = "you are a fool friend"


@asynccontextmanager
async def service(tmp_path, checkpoints, log):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with log.open("wb") as sink:
        process = subprocess.Popen(  # noqa: ASYNC220 (it returns at once)
            [Path(sys.executable).with_name("assay-scoring"), "--listen", address,
             "--metrics-listen", "off", "--home", str(tmp_path), "--device", "cpu",
             "--threads", "1", "--checkpoints", json.dumps(checkpoints)],
            stdout=sink, stderr=sink,
        )  # fmt: skip
    try:
        async with channel(address) as to_scoring:
            stub = scoring_pb2_grpc.ScoringServiceStub(to_scoring)
            deadline = time.monotonic() + 180
            while True:
                try:
                    await call(stub.ListScorers, pb.ListScorersRequest(), timeout=2)
                    break
                except AssayError:
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.2)
            yield stub
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 60)


async def score(stub, *messages):
    async def requests():
        for message in messages:
            yield message

    found = []
    async for response in stream(stub.Score, requests(), timeout=120):
        found.append([(s.id, s.value if s.HasField("value") else s.missing_reason)
                      for s in response.scores])  # fmt: skip
    return found


def message(*texts, scorer=""):
    items = [pb.ScoreItem(id=f"i{k}", text=text) for k, text in enumerate(texts)]
    return pb.ScoreRequest(scorer=scorer, items=items)


async def test_scorers_are_listed_and_texts_scored_in_order(tmp_path, multi_label, two_classes):
    log = tmp_path / "log"
    checkpoints = {
        "multi": {"path": str(multi_label), "summary": "Made up.", "licence": "CC0-1.0"},
        "two": str(two_classes),
    }
    async with service(tmp_path, checkpoints, log) as stub:
        listed = (await call(stub.ListScorers, pb.ListScorersRequest())).scorers
        first, second = listed
        assert first.id.startswith("multi-")
        assert (first.summary, first.licence) == ("Made up.", "CC0-1.0")
        assert "'toxic'" in second.summary

        one, two = await score(stub, message(SECRET, "  ", "good"), message("bad"))
        assert [identifier for identifier, _ in one] == ["i0", "i1", "i2"]
        assert one[1] == ("i1", "blank")
        assert all(0 < value < 1 for _, value in (one[0], one[2], two[0]))
        # Only the first message's scorer counts; another one gives other numbers.
        named = await score(stub, message(SECRET, scorer=second.id), message("bad", scorer="x"))
        assert named[0][0][1] != one[0][1]

        with pytest.raises(NotFound, match=first.id):
            await score(stub, message("a", scorer="unknown"))
        with pytest.raises(InvalidArgument, match="items"):
            await score(stub, message(*["a"] * 257))
    # No text is ever logged.
    assert SECRET not in log.read_text()
    assert "scorer_loaded" in log.read_text()


def test_a_checkpoint_that_cannot_be_used_ends_the_start_with_its_name(tmp_path):
    found = subprocess.run(
        [Path(sys.executable).with_name("assay-scoring"), "--checkpoints",
         json.dumps({"gone": str(tmp_path / "gone")}), "--home", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert found.returncode == 2
    assert "checkpoint gone has no config.json" in found.stderr
    assert "Traceback" not in found.stderr


class Fixed:
    id = "fixed"
    summary = licence = ""

    def score(self, texts):
        return [{"nan": float("nan"), "two": 2.0, "none": None}.get(text, 0.5) for text in texts]


async def test_what_is_no_probability_is_a_failure_and_never_a_low_score():
    found = await Scorers([Fixed()]).score("fixed", ["nan", "two", "none", "", "fine"])
    assert [each.missing_reason for each in found] == [*["scorer_error"] * 3, "blank", ""]
    assert found[-1].value == 0.5


class Slow:
    """Says how many messages it was given at once at most."""

    id = "slow"
    summary = licence = ""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.entered = threading.Event()
        self.go = threading.Event()

    def score(self, texts):
        self.now += 1
        self.most = max(self.most, self.now)
        self.entered.set()
        assert self.go.wait(20)
        self.now -= 1
        return [0.5 for _ in texts]


async def test_a_caller_that_leaves_does_not_let_two_messages_into_a_classifier():
    slow = Slow()
    scorers = Scorers([slow])
    leaving = asyncio.create_task(scorers.score("slow", ["a"]))
    await asyncio.to_thread(slow.entered.wait, 20)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    next_one = asyncio.create_task(scorers.score("slow", ["b"]))
    await asyncio.sleep(0.1)
    slow.go.set()
    assert [each.value for each in await next_one] == [0.5]
    assert slow.most == 1
