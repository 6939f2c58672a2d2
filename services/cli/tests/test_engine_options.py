"""Every command that loads a model takes the options of its engine."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from assay_cli.commands.engine_options import ENGINE_OPTIONS
from assay_core.pb import common_pb2, serving_pb2, serving_pb2_grpc

ARTIFACT = "file:///artifacts/a"
COMMANDS = {
    "load": ("model", "load", ARTIFACT),
    "generate": ("generate", ARTIFACT, "hello"),
    "profile": ("model", "profile", ARTIFACT),
}
GIVEN = {
    "dtype": "bfloat16",
    "kv_cache_dtype": "fp8",
    "kv_cache_gib": 3,
    "max_model_len": 2048,
    "replicas": 2,
    "max_replicas": 4,
    "target_ongoing_requests": 1.5,
    "tensor_parallel_size": 1,
    "gpu_share": 0.5,
}
OUTSIDE = {
    "dtype": ["int8"],
    "kv_cache_dtype": ["int8"],
    "kv_cache_gib": [0, 4097],
    "max_model_len": [0],
    "replicas": [0, 257],
    "max_replicas": [0, 257],
    "target_ongoing_requests": [0, 10_001],
    "tensor_parallel_size": [0, 65],
    "gpu_share": [0, 1.1],
}


class Serving(serving_pb2_grpc.ServingServiceServicer):
    """Has every model at once, and keeps what it was asked to load."""

    def __init__(self) -> None:
        self.loads: list[serving_pb2.LoadModelRequest] = []

    def LoadModel(self, request: Any, context: Any) -> Any:
        self.loads.append(request)
        model = serving_pb2.Model(artifact_digest="sha256:" + "ab" * 32)
        model.meta.id, model.meta.state = "model-1", common_pb2.STATE_SUCCEEDED
        return serving_pb2.LoadModelResponse(model=model, lease=serving_pb2.Lease(id="lease-1"))

    def Generate(self, requests: Any, context: Any) -> Any:
        yield serving_pb2.GenerateResponse(completions=[serving_pb2.Completion(text="hi")])

    def ProfileModel(self, request: Any, context: Any) -> Any:
        return serving_pb2.ProfileModelResponse()

    def ReleaseLease(self, request: Any, context: Any) -> Any:
        return serving_pb2.ReleaseLeaseResponse()


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Any:
    servicer = Serving()
    server = grpc.server(ThreadPoolExecutor(2))
    serving_pb2_grpc.add_ServingServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("ASSAY_CLI_SERVING", f"127.0.0.1:{port}")
    yield servicer
    server.stop(0)


def flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def test_every_option_of_the_contract_is_there() -> None:
    fields = {field.name for field in serving_pb2.EngineOptions.DESCRIPTOR.fields}
    assert fields == ENGINE_OPTIONS.keys() == GIVEN.keys() == OUTSIDE.keys()


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_what_is_given_is_asked_for(assay: Any, serving: Serving, words: tuple[str, ...]) -> None:
    ran = assay(*words, *(part for name, value in GIVEN.items() for part in (flag(name), value)))
    assert ran.code == 0, ran.err
    assert [load.options for load in serving.loads] == [serving_pb2.EngineOptions(**GIVEN)]


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_what_is_not_given_is_left_to_the_server(
    assay: Any, serving: Serving, words: tuple[str, ...]
) -> None:
    assert assay(*words).code == 0
    assert [load.options for load in serving.loads] == [serving_pb2.EngineOptions()]


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in OUTSIDE.items() for value in values]
)
def test_what_the_contract_refuses_is_refused_at_once(
    assay: Any, serving: Serving, name: str, value: Any
) -> None:
    ran = assay("model", "load", ARTIFACT, flag(name), value)
    assert ran.code == 2
    assert flag(name) in ran.err
    assert serving.loads == []
