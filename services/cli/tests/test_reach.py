"""Everything in the API can be reached from the command line, or there is a reason why not."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from typer.main import get_command

import assay_cli
from assay_cli.main import app
from assay_core.pb import (
    common_pb2,
    comparison_pb2,
    compression_pb2,
    compression_pb2_grpc,
    coordination_pb2,
    evaluation_pb2,
    evaluation_pb2_grpc,
    pack_pb2,
    pack_pb2_grpc,
    scoring_pb2,
    serving_pb2,
    serving_pb2_grpc,
)

_BY_STUDY = "the coordinator evaluates; people run, watch and cancel studies"
_BY_EVALUATOR = "evaluators ask for it while they evaluate"
_BY_SCORING = "evaluators ask it; people name its address in `data calibrate-toxicity --scoring`"
REASONS = {
    "CreateEvaluation": _BY_STUDY,
    "GetEvaluation": _BY_STUDY,
    "ListEvaluations": _BY_STUDY,
    "WatchEvaluation": _BY_STUDY,
    "CancelEvaluation": _BY_STUDY,
    "PlanEvaluation": "the coordinator asks it for `study plan`",
    "PairReplays": "the coordinator asks it for a canary",
    "CountTokens": _BY_EVALUATOR,
    "DescribeEngine": "the coordinator and evaluators ask it; `model show` has the engine",
    "ListScorers": _BY_SCORING,
    "Score": _BY_SCORING,
}
"""RPCs that no command calls, and why."""

SERVICES = {
    method.name: service.full_name
    for module in (
        compression_pb2, coordination_pb2, evaluation_pb2, pack_pb2, scoring_pb2, serving_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}  # fmt: skip


def called() -> set[str]:
    """Methods that the source of the command line calls on a stub."""
    (package,) = assay_cli.__path__
    text = "\n".join(file.read_text() for file in Path(package).rglob("*.py"))
    return {name for name in SERVICES if re.search(rf"\b(?!\w+_pb2\.)\w+\.{name}\b", text)}


def test_every_method_of_every_service_has_a_command_or_a_reason() -> None:
    assert SERVICES.keys() - called() - REASONS.keys() == set()


def test_a_reason_is_given_only_where_no_command_calls() -> None:
    assert REASONS.keys() & called() == set()
    assert REASONS.keys() <= SERVICES.keys()


def commands(group: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, each in group.commands.items():
        deeper = hasattr(each, "commands")
        found += commands(each, (*path, name)) if deeper else [(*path, name)]
    return found


@pytest.mark.parametrize("path", commands(get_command(app)), ids=" ".join)
def test_every_command_explains_itself(assay: Any, path: tuple[str, ...]) -> None:
    ran = assay(*path, "--help")
    assert ran.code == 0
    assert "Usage:" in ran.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion(assay: Any, shell: str) -> None:
    ran = assay("--show-completion", shell)
    assert ran.code == 0
    assert "assay" in ran.out.lower()


def serve(register: Any, servicer: Any) -> tuple[Any, str]:
    server = grpc.server(ThreadPoolExecutor(2))
    register(servicer, server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    return server, address


def test_comparisons_are_listed_with_their_filter(assay: Any, coordinator: Any) -> None:
    found = comparison_pb2.Comparison(
        variant_key="demo/x/seed0", dimension="ethics", scenario="zero_shot", difference=-6.0,
        interval_low=-8.0, interval_high=-4.0, n_pairs=120,
    )  # fmt: skip
    coordinator.answers["ListComparisons"] = coordination_pb2.ListComparisonsResponse(
        comparisons=[found]
    )
    ran = assay("comparisons", "study-1", "--filter", 'dimension = "ethics"')
    assert ran.code == 0, ran.err
    for shown in ("demo/x/seed0", "zero_shot", "-6.0 [-8.0, -4.0]"):
        assert shown in ran.out
    assert coordinator.requests[0].options.filter == 'dimension = "ethics"'


class Evaluator(evaluation_pb2_grpc.EvaluationServiceServicer, pack_pb2_grpc.PackServiceServicer):
    def DescribeDimension(self, request: Any, context: Any) -> Any:
        return evaluation_pb2.DescribeDimensionResponse(
            dimension="ethics",
            summary="Right and wrong.",
            scenarios=["zero_shot"],
            parsers=[evaluation_pb2.ParserDescription(version="assay-2026", summary="Words.")],
        )

    def GetPack(self, request: Any, context: Any) -> Any:
        pack = pack_pb2.Pack(digest=request.digest, name="mine", licence="MIT", display="deny")
        return pack_pb2.GetPackResponse(pack=pack)


@pytest.fixture
def evaluator(monkeypatch: pytest.MonkeyPatch) -> Any:
    def register(servicer: Any, server: Any) -> None:
        evaluation_pb2_grpc.add_EvaluationServiceServicer_to_server(servicer, server)
        pack_pb2_grpc.add_PackServiceServicer_to_server(servicer, server)

    server, address = serve(register, Evaluator())
    monkeypatch.setenv("ASSAY_CLI_EVALUATORS", json.dumps({"ethics": address}))
    yield
    server.stop(0)


def test_a_dimension_says_what_it_measures(assay: Any, evaluator: Any) -> None:
    ran = assay("dimension", "ethics")
    assert ran.code == 0, ran.err
    assert "ethics: Right and wrong." in ran.out
    assert "assay-2026: Words." in ran.out


def test_an_uploaded_pack_says_whether_its_texts_may_be_shown(assay: Any, evaluator: Any) -> None:
    ran = assay("data", "show", "sha256:" + "ab" * 32)
    assert ran.code == 0, ran.err
    assert "display: deny" in ran.out


class Compression(compression_pb2_grpc.CompressionServiceServicer):
    def CancelVariant(self, request: Any, context: Any) -> Any:
        variant = compression_pb2.Variant()
        variant.meta.id, variant.meta.state = request.id, common_pb2.STATE_CANCELLED
        return compression_pb2.CancelVariantResponse(variant=variant)


def test_a_compression_job_is_cancelled(assay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server, address = serve(
        compression_pb2_grpc.add_CompressionServiceServicer_to_server, Compression()
    )
    monkeypatch.setenv("ASSAY_CLI_COMPRESSION", address)
    ran = assay("variants", "cancel", "variant-7")
    server.stop(0)
    assert ran.code == 0, ran.err
    assert "variant-7: cancelled" in ran.out


class Serving(serving_pb2_grpc.ServingServiceServicer):
    def __init__(self) -> None:
        self.asked: Any = None
        self.released = ""

    def LoadModel(self, request: Any, context: Any) -> Any:
        model = serving_pb2.Model(artifact_digest="sha256:" + "ab" * 32)
        model.meta.id, model.meta.state = "model-1", common_pb2.STATE_SUCCEEDED
        return serving_pb2.LoadModelResponse(model=model, lease=serving_pb2.Lease(id="lease-1"))

    def ProfileModel(self, request: Any, context: Any) -> Any:
        self.asked = request
        response = serving_pb2.ProfileModelResponse(tokens_per_second=321.5, memory_bytes=3 << 30)
        response.ttft_p50.FromMilliseconds(20)
        response.ttft_p95.FromMilliseconds(35)
        return response

    def ReleaseLease(self, request: Any, context: Any) -> Any:
        self.released = request.lease_id
        return serving_pb2.ReleaseLeaseResponse()


def test_a_model_is_measured_on_a_lease_that_is_given_back(
    assay: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    servicer = Serving()
    server, address = serve(serving_pb2_grpc.add_ServingServiceServicer_to_server, servicer)
    monkeypatch.setenv("ASSAY_CLI_SERVING", address)
    ran = assay("model", "profile", "file:///artifacts/a", "--requests", "4")
    server.stop(0)
    assert ran.code == 0, ran.err
    assert "20 ms median, 35 ms 95th percentile" in ran.out
    assert "321.5 tokens/s" in ran.out
    assert (servicer.asked.requests, servicer.asked.lease_id) == (4, "lease-1")
    assert servicer.released == "lease-1"
