"""A coordinator that answers what a test wrote down, over real gRPC, and a way to run commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_status import rpc_status
from typer.testing import CliRunner

from assay_cli.main import app
from assay_core.errors import AssayError, to_status
from assay_core.pb import coordination_pb2, coordination_pb2_grpc


@dataclass(frozen=True)
class Ran:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def assay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `assay ARGUMENTS` in an empty home."""
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("ASSAY_SERVER", "ASSAY_TOKEN", "ASSAY_PROJECT", "ASSAY_DEBUG"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object, stdin: str | None = None) -> Ran:
        result = CliRunner().invoke(app, [str(each) for each in arguments], input=stdin)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


class ScriptedCoordinator(coordination_pb2_grpc.CoordinationServiceServicer):
    """Answers each method with the response, the list of responses, or the error set for it.

    A function is called with the call's context and gives the answer.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.requests: list[Any] = []
        self.metadata: list[dict[str, str]] = []
        self.address = ""

    def answer(self, method: str, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests.append(request)
        self.metadata.append({key: str(value) for key, value in context.invocation_metadata()})
        answer = self.answers[method]
        if isinstance(answer, AssayError):
            context.abort_with_status(rpc_status.to_status(to_status(answer)))
        return answer(context) if callable(answer) else answer


def _scripted(name: str) -> Callable[..., Any]:
    def method(self: ScriptedCoordinator, request: Any, context: grpc.ServicerContext) -> Any:
        answer = self.answer(name, request, context)
        return iter(answer) if isinstance(answer, list) else answer

    return method


for _method in coordination_pb2.DESCRIPTOR.services_by_name["CoordinationService"].methods:
    setattr(ScriptedCoordinator, _method.name, _scripted(_method.name))


@pytest.fixture
def coordinator(monkeypatch: pytest.MonkeyPatch, assay: Run) -> Iterator[ScriptedCoordinator]:
    """A scripted coordinator that commands talk to."""
    scripted = ScriptedCoordinator()
    server = grpc.server(ThreadPoolExecutor(4))
    coordination_pb2_grpc.add_CoordinationServiceServicer_to_server(scripted, server)
    scripted.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    monkeypatch.setenv("ASSAY_SERVER", scripted.address)
    server.start()
    yield scripted
    server.stop(0)
