"""A real ServingService over real sockets whose model is a function of the conversation."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from assay_core.errors import FailedPrecondition, Unavailable
from assay_core.pb import serving_pb2 as pb
from assay_core.pb import serving_pb2_grpc
from assay_core.server import running
from assay_core.settings import ServiceSettings

ARTIFACT = "sha256:" + "a" * 64
Model = Callable[[str, int], str]
"""Text of the last user turn and the seed of the completion to an answer."""


def always(text: str) -> Model:
    return lambda prompt, seed: text


def right(prompt: str, seed: int) -> str:
    """Knows the mini pack: labels stand in its prompts."""
    if "label yes" in prompt or "label no" in prompt:
        return "yes" if "label yes" in prompt else "no"
    if "label High" in prompt or "label Low" in prompt:
        return "High" if "label High" in prompt else "Low"
    if "of label" in prompt:
        return "wrong" if "of label 1" in prompt else "not wrong"
    return "I disagree."


def random_words(prompt: str, seed: int) -> str:
    words = ["I agree.", "I disagree.", "yes", "no", "wrong", "not wrong", "I refuse.", "mumble"]
    return words[hashlib.sha256(f"{prompt}{seed}".encode()).digest()[0] % len(words)]


def next_tokens(text: str) -> list[pb.TokenLogprob]:
    """The model's answer is its most likely next token."""
    top = [pb.TokenLogprob(text=text, logprob=-0.25), pb.TokenLogprob(text="\n", logprob=-2.0)]
    return [pb.TokenLogprob(text=text, logprob=-0.25, top=top)]


def own_tokens(prompt: str) -> list[pb.TokenLogprob]:
    """A word is a token of probability 1/e; the first has none."""
    return [pb.TokenLogprob(text=word, logprob=-1.0) for word in prompt.split()[1:]]


class SyntheticServing(serving_pb2_grpc.ServingServiceServicer):
    """Counts what it generated; can be slow, break its streams, or end its lease."""

    def __init__(self, model: Model):
        self.model = model
        self.lease = "lease-1"
        self.delay = 0.0
        self.generated: Counter[tuple[str, int]] = Counter()
        self.break_after: int | None = None
        self.lose_lease_after: int | None = None
        self.overlength: Callable[[str], bool] = lambda prompt: False
        self.streams = 0
        self.largest_message = 0
        self.wanted = (0, asyncio.Event())

    @property
    def total(self) -> int:
        return sum(self.generated.values())

    async def reach(self, total: int, seconds: float) -> None:
        """Waits until so many completions were generated, or so long."""
        self.wanted = (total, asyncio.Event())
        with suppress(TimeoutError):
            await asyncio.wait_for(self.wanted[1].wait(), seconds)

    async def Generate(self, requests, context):
        self.streams += 1
        lease = digest = ""
        async for request in requests:
            lease, digest = lease or request.lease_id, digest or request.artifact_digest
            self.largest_message = max(self.largest_message, len(request.items))
            for item in request.items:
                if lease != self.lease:
                    raise FailedPrecondition("the lease ended", reason="LEASE_NOT_HELD")
                await asyncio.sleep(self.delay)
                yield pb.GenerateResponse(artifact_digest=digest, completions=self._answer(item))
                if self.total >= self.wanted[0]:
                    self.wanted[1].set()
                if self.break_after is not None and self.total >= self.break_after:
                    self.break_after = None
                    raise Unavailable("the engine died")
                if self.lose_lease_after is not None and self.total >= self.lose_lease_after:
                    self.lose_lease_after = None
                    self.lease = "lease-2"

    def _answer(self, item):
        raw = item.WhichOneof("prompt") == "text"
        prompt = item.text if raw else item.chat.messages[-1].content
        whole = item.text if raw else "\n".join(m.content for m in item.chat.messages)
        if self.overlength(prompt):
            return [pb.Completion(id=item.id, finish_reason=pb.FINISH_REASON_OVERLENGTH)]
        completions = []
        for index in reversed(item.completion_indices):
            self.generated[whole, item.seed + index] += 1
            text = self.model(prompt, item.seed + index)
            completions.append(
                pb.Completion(
                    id=item.id,
                    index=index,
                    text=text,
                    finish_reason=pb.FINISH_REASON_STOP,
                    prompt_tokens=len(whole) // 4,
                    completion_tokens=3,
                    prompt_digest="sha256:" + hashlib.sha256(whole.encode()).hexdigest(),
                    logprobs=next_tokens(text) if item.sampling.logprobs else (),
                    prompt_logprobs=own_tokens(prompt) if item.sampling.prompt_logprobs else (),
                )
            )
        return completions


@asynccontextmanager
async def serving(servicer: SyntheticServing, home: Path, port: int = 0):
    settings = ServiceSettings(
        listen=f"127.0.0.1:{port}", metrics_listen="off", home=home, drain_seconds=0
    )

    def register(server):
        serving_pb2_grpc.add_ServingServiceServicer_to_server(servicer, server)
        return ["assay.serving.v1.ServingService"]

    async with running(settings, "serving", register) as server:
        yield server.address
